package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/core/v1"
	slices "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Services without kube-proxy, which would write firewall rules on the machine: the service addresses are this
// machine's own (a local route, see network.py), and here is who listens on them and passes connections on to a pod.
// TCP and cluster addresses only. What pods see as the client's address is this machine's.
type services struct {
	services listers.ServiceLister
	slices   slices.EndpointSliceLister

	// What is listened on, by address, and for whom.
	guard sync.Mutex
	open  map[string]*door
}

type door struct {
	net.Listener
	namespace, service, port string
}

// Of this Service there are no pods: it is the API server, which listens on loopback.
const apiServer = "default/kubernetes"

// runServices never returns. --relay LISTEN=TARGET, as often as wished, passes on connections whatever Services there are.
func runServices(arguments []string) {
	flags := flag.NewFlagSet("services", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	api := flags.String("api", "", "HOST:PORT of the API server, for the Service "+apiServer)
	dns := flags.String("dns", "", "HOST:PORT to answer questions for names at")
	flags.Func("relay", "LISTEN=TARGET", startRelay)
	flags.Parse(arguments)

	factory := informers.NewSharedInformerFactory(connect(*kubeconfig), 0)
	s := &services{
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
		open:     map[string]*door{},
	}
	again := func() { s.listen(*api) }
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { again() },
		UpdateFunc: func(any, any) { again() },
		DeleteFunc: func(any) { again() },
	}
	factory.Core().V1().Services().Informer().AddEventHandler(handler)
	factory.Start(nil)
	factory.WaitForCacheSync(nil)
	log.Fatal(s.answer(*dns))
}

// listen opens what Services need and closes what none needs any more. An address that cannot be had is tried again
// with the next change, and said.
func (s *services) listen(api string) {
	s.guard.Lock()
	defer s.guard.Unlock()
	all, err := s.services.List(labels.Everything())
	if err != nil {
		return
	}
	wanted := map[string]bool{}
	for _, service := range all {
		if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == core.ClusterIPNone {
			continue
		}
		for _, port := range service.Spec.Ports {
			if port.Protocol != core.ProtocolTCP {
				continue
			}
			address := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
			wanted[address] = true
			if found := s.open[address]; found != nil {
				found.namespace, found.service, found.port = service.Namespace, service.Name, port.Name
				continue
			}
			listener, err := net.Listen("tcp", address)
			if err != nil {
				log.Printf("%s/%s: %v", service.Namespace, service.Name, err)
				continue
			}
			opened := &door{listener, service.Namespace, service.Name, port.Name}
			s.open[address] = opened
			go relay(listener, func() string {
				s.guard.Lock()
				namespace, name, port := opened.namespace, opened.service, opened.port
				s.guard.Unlock()
				if namespace+"/"+name == apiServer {
					return api
				}
				return s.pick(namespace, name, port)
			})
		}
	}
	for address, opened := range s.open {
		if !wanted[address] {
			opened.Close()
			delete(s.open, address)
		}
	}
}

// endpoints of a Service, those that are ready or that it wants to be known before.
func (s *services) endpoints(namespace, service string, use func(*discovery.EndpointSlice, discovery.Endpoint)) {
	selector := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service})
	found, err := s.slices.EndpointSlices(namespace).List(selector)
	if err != nil {
		return
	}
	for _, slice := range found {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				use(slice, endpoint)
			}
		}
	}
}

// pick chooses any pod of the Service; nothing when there is none.
func (s *services) pick(namespace, service, name string) string {
	var ready []string
	s.endpoints(namespace, service, func(slice *discovery.EndpointSlice, endpoint discovery.Endpoint) {
		for _, port := range slice.Ports {
			if port.Port != nil && (port.Name == nil && name == "" || port.Name != nil && *port.Name == name) {
				ready = append(ready, net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*port.Port))))
			}
		}
	})
	if len(ready) == 0 {
		return ""
	}
	return ready[rand.IntN(len(ready))]
}

// relay passes every connection on to what target says then; it returns when the listener is closed.
func relay(listener net.Listener, target func() string) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer near.Close()
			address := target()
			if address == "" {
				return
			}
			far, err := net.DialTimeout("tcp", address, 5*time.Second)
			if err != nil {
				log.Print(err)
				return
			}
			defer far.Close()
			done := make(chan struct{})
			go func() {
				io.Copy(far, near)
				far.(*net.TCPConn).CloseWrite()
				close(done)
			}()
			io.Copy(near, far)
			near.(*net.TCPConn).CloseWrite()
			<-done
		}()
	}
}

func startRelay(text string) error {
	listen, target, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("expected LISTEN=TARGET, found `%s`", text)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	go relay(listener, func() string { return target })
	return nil
}
