// Command queues is Kueue's own controllers, scheduler and admission of queues, for Jobs and JobSets, at an address where
// the API server finds it. What it does for other operators' jobs, other clusters, topologies and autoscalers is left out.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/discovery"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	controller "sigs.k8s.io/controller-runtime"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	configuration "sigs.k8s.io/kueue/apis/config/v1beta1"
	kueue "sigs.k8s.io/kueue/apis/kueue/v1beta1"
	queued "sigs.k8s.io/kueue/pkg/cache/queue"
	admitted "sigs.k8s.io/kueue/pkg/cache/scheduler"
	"sigs.k8s.io/kueue/pkg/constants"
	"sigs.k8s.io/kueue/pkg/controller/core"
	"sigs.k8s.io/kueue/pkg/controller/core/indexer"
	"sigs.k8s.io/kueue/pkg/controller/jobframework"
	"sigs.k8s.io/kueue/pkg/controller/jobs/job"
	"sigs.k8s.io/kueue/pkg/controller/jobs/jobset"
	"sigs.k8s.io/kueue/pkg/scheduler"
	"sigs.k8s.io/kueue/pkg/util/kubeversion"
	"sigs.k8s.io/kueue/pkg/webhooks"
)

// It returns when it is told to end.
func main() {
	flags := flag.NewFlagSet("queues", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	address := flags.String("admission", "", "HOST:PORT where the API server asks what it may admit")
	certificates := flags.String("certificates", "", "the folder of server.crt and server.key")
	flags.Parse(os.Args[1:])

	controller.SetLogger(klog.Background())
	check(feature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{
		"MultiKueue": false, "TopologyAwareScheduling": false, "VisibilityOnDemand": false,
	}))
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	config.QPS, config.Burst = 500, 1000
	host, text, err := net.SplitHostPort(*address)
	check(err)
	port, err := strconv.Atoi(text)
	check(err)

	scheme := runtime.NewScheme()
	check(kubernetes.AddToScheme(scheme))
	check(kueue.AddToScheme(scheme))
	check(configuration.AddToScheme(scheme))
	check(jobframework.ForEachIntegration(func(_ string, of jobframework.IntegrationCallbacks) error {
		if of.AddToScheme == nil {
			return nil
		}
		return of.AddToScheme(scheme)
	}))
	admission := webhook.Options{
		Host: host, Port: port, CertDir: *certificates, CertName: "server.crt", KeyName: "server.key",
	}
	manager, err := controller.NewManager(config, controller.Options{
		Scheme:        scheme,
		Metrics:       metrics.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(admission),
	})
	check(err)
	versions := kubeversion.NewServerVersionFetcher(discovery.NewDiscoveryClientForConfigOrDie(config))
	check(versions.FetchServerVersion())
	context := controller.SetupSignalHandler()
	check(start(context, manager, versions))
	check(manager.Start(context))
}

// start has all of it begin with the manager, with the settings that Kueue has by itself.
func start(context context.Context, manager controller.Manager, versions *kubeversion.ServerVersionFetcher) error {
	var settings configuration.Configuration
	manager.GetScheme().Default(&settings)
	client, fields := manager.GetClient(), manager.GetFieldIndexer()
	holding := admitted.New(client)
	waiting := queued.NewManager(client, holding)
	options := []jobframework.Option{
		jobframework.WithEnabledFrameworks([]string{job.FrameworkName, jobset.FrameworkName}),
		jobframework.WithManagerName(constants.KueueName),
		jobframework.WithKubeServerVersion(versions),
		jobframework.WithManagedJobsNamespaceSelector(labels.Everything()),
		jobframework.WithCache(holding),
		jobframework.WithQueues(waiting),
	}
	if err := indexer.Setup(context, fields); err != nil {
		return err
	}
	if err := jobframework.SetupIndexes(context, fields, options...); err != nil {
		return err
	}
	if name, err := core.SetupControllers(manager, waiting, holding, &settings); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if name, err := webhooks.Setup(manager); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := jobframework.SetupControllers(context, manager, klog.Background(), options...); err != nil {
		return err
	}
	go waiting.CleanUpOnContext(context)
	go holding.CleanUpOnContext(context)
	events := manager.GetEventRecorderFor(constants.AdmissionName)
	return manager.Add(scheduler.New(waiting, holding, client, events))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "queues:", err)
		os.Exit(2)
	}
}
