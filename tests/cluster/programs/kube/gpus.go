package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// A pool is so many devices of one resource that exist only as numbers: what the kubelet is told, and what a container
// that gets some of them finds in its environment. Nothing is mounted and no driver is needed.
type pool struct {
	api.UnimplementedDevicePluginServer
	resource string
	devices  []*api.Device
}

// As the vendors' own plugins call it; see their documentation.
var variables = map[string]string{
	"nvidia.com": "NVIDIA_VISIBLE_DEVICES",
	"amd.com":    "ROCR_VISIBLE_DEVICES",
}

func newPool(resource string, count int) *pool {
	p := &pool{resource: resource}
	for number := range count {
		p.devices = append(p.devices, &api.Device{ID: strconv.Itoa(number), Health: api.Healthy})
	}
	return p
}

func (p *pool) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch says once what there is: it never changes while the connection lasts.
func (p *pool) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *pool) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	vendor, _, _ := strings.Cut(p.resource, "/")
	variable, known := variables[vendor]
	if !known {
		variable = "VISIBLE_DEVICES"
	}
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		given := map[string]string{variable: strings.Join(container.DevicesIds, ",")}
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{Envs: given})
	}
	return response, nil
}

// offer tells the kubelet of the pool and answers it, until the kubelet has started anew and forgotten: it empties
// the folder of sockets then.
func (p *pool) offer() error {
	name := strings.NewReplacer("/", "_", ".", "_").Replace(p.resource) + ".sock"
	socket := api.DevicePluginPath + name
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	defer server.Stop()
	api.RegisterDevicePluginServer(server, p)
	go server.Serve(listener)

	kubelet, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer kubelet.Close()
	registration := &api.RegisterRequest{Version: api.Version, Endpoint: name, ResourceName: p.resource}
	if _, err := api.NewRegistrationClient(kubelet).Register(context.Background(), registration); err != nil {
		return err
	}
	log.Printf("%d of %s", len(p.devices), p.resource)
	for {
		time.Sleep(500 * time.Millisecond)
		if _, err := os.Stat(socket); err != nil {
			return err
		}
	}
}

// offerGPUs takes NAME=COUNT as often as wished, and never returns. --relay LISTEN=TARGET is what else runs on the node:
// its loopback is its own, and there containerd looks for the registry.
func offerGPUs(arguments []string) {
	flags := flag.NewFlagSet("gpus", flag.ExitOnError)
	flags.Func("relay", "LISTEN=TARGET", startRelay)
	flags.Parse(arguments)
	for _, one := range flags.Args() {
		p := newPool(amount(one))
		go func() {
			for {
				log.Printf("%s: %v", p.resource, p.offer())
				time.Sleep(500 * time.Millisecond)
			}
		}()
	}
	select {}
}

func amount(text string) (string, int) {
	name, digits, _ := strings.Cut(text, "=")
	count, err := strconv.Atoi(digits)
	if err != nil || count < 0 || !strings.Contains(name, "/") {
		fail("expected NAME=COUNT such as nvidia.com/gpu=4, found `%s`", text)
	}
	return name, count
}
