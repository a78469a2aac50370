// Command kube is the test cluster in one file. Its first argument says which part it is: Kubernetes' own ones with
// the flags that they always have, or one of ours (gpus.go, hollow.go, services.go).
//
// They share nearly everything, so that one program is linked and kept instead of nine. Each runs as a process.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = "usage: kube etcd|apiserver|controllers|scheduler|kubelet|kubectl|gpus|hollow|services ARGUMENTS..."

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	// Everything below takes its own name from the first argument, as if it had been started by it.
	os.Args = os.Args[1:]
	switch os.Args[0] {
	case "etcd":
		etcdmain.Main(os.Args)
	case "apiserver":
		serve(apiserver.NewAPIServerCommand())
	case "controllers":
		serve(controllers.NewControllerManagerCommand())
	case "scheduler":
		serve(scheduler.NewSchedulerCommand())
	case "kubelet":
		serve(kubelet.NewKubeletCommand(context.Background()))
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	case "gpus":
		offerGPUs(os.Args[1:])
	case "hollow":
		runHollow(os.Args[1:])
	case "services":
		runServices(os.Args[1:])
	default:
		fail(usage)
	}
}

func serve(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

// fail ends the process: there is nothing that a part could go on with.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(2)
}
