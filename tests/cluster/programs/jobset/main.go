// Command jobsets is JobSet's own controllers, and its admission at an address where the API server finds it. What makes
// their certificates and metrics in a cluster of other people's is left out.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	controller "sigs.k8s.io/controller-runtime"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
	"sigs.k8s.io/jobset/pkg/controllers"
	"sigs.k8s.io/jobset/pkg/webhooks"
)

// It returns when it is told to end.
func main() {
	flags := flag.NewFlagSet("jobsets", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	address := flags.String("admission", "", "HOST:PORT where the API server asks what it may admit")
	certificates := flags.String("certificates", "", "the folder of server.crt and server.key")
	flags.Parse(os.Args[1:])

	controller.SetLogger(klog.Background())
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	config.QPS, config.Burst = 500, 1000
	host, text, err := net.SplitHostPort(*address)
	check(err)
	port, err := strconv.Atoi(text)
	check(err)

	scheme := runtime.NewScheme()
	check(kubernetes.AddToScheme(scheme))
	check(jobset.AddToScheme(scheme))
	admission := webhook.Options{
		Host: host, Port: port, CertDir: *certificates, CertName: "server.crt", KeyName: "server.key",
	}
	manager, err := controller.NewManager(config, controller.Options{
		Scheme:        scheme,
		Metrics:       metrics.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(admission),
	})
	check(err)
	context := controller.SetupSignalHandler()
	check(controllers.SetupJobSetIndexes(context, manager.GetFieldIndexer()))
	check(controllers.SetupPodIndexes(context, manager.GetFieldIndexer()))

	client, events := manager.GetClient(), manager.GetEventRecorderFor("jobset")
	check(controllers.NewJobSetReconciler(client, scheme, events).SetupWithManager(manager))
	check(controllers.NewPodReconciler(client, scheme, events).SetupWithManager(manager))
	sets, err := webhooks.NewJobSetWebhook(client)
	check(err)
	check(sets.SetupWebhookWithManager(manager))
	check(webhooks.NewPodWebhook(client).SetupWebhookWithManager(manager))
	check(manager.Start(context))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "jobsets:", err)
		os.Exit(2)
	}
}
