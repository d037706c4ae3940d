// Command controlplane is every program of a Kubernetes control plane in one
// binary: the first argument picks the component, the rest are its flags.
//
//	controlplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler FLAGS...
//	controlplane credentials DIR
//
// One binary instead of four shares the code that they have in common, which
// saves two thirds of the disk space and of the link time.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = "usage: controlplane " +
	"etcd|kube-apiserver|kube-controller-manager|kube-scheduler|credentials ARGUMENTS..."

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	component := os.Args[1]
	// The components parse os.Args themselves; give them the view they would
	// have as programs of their own.
	os.Args = append([]string{component}, os.Args[2:]...)

	switch component {
	case "etcd":
		etcdmain.Main(os.Args)
	// A constructor installs the signal handler of the whole process, so only
	// the one asked for may run: two of them panic.
	case "kube-apiserver":
		runCommand(apiserver.NewAPIServerCommand)
	case "kube-controller-manager":
		runCommand(controllermanager.NewControllerManagerCommand)
	case "kube-scheduler":
		runCommand(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	case "credentials":
		if len(os.Args) != 2 {
			fmt.Fprintln(os.Stderr, "usage: controlplane credentials DIR")
			os.Exit(2)
		}
		if err := writeCredentials(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "controlplane credentials:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "unknown component %q\n%s\n", component, usage)
		os.Exit(2)
	}
}

func runCommand(construct func() *cobra.Command) {
	os.Exit(cli.Run(construct()))
}
