package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strconv"
	"strings"
	"sync"
	"time"

	leases "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// A hollow node runs nothing. What is scheduled to it is said to run for as long as its annotation "hollow/runs" tells
// (a duration of Go's, none if absent) and to have ended with the exit code in "hollow/exit" (0 if absent).
// Only pods that tolerate the taint get there, so a cluster with hollow nodes is otherwise the same.
const (
	hollowKey    = "hollow"
	hollowPrefix = "hollow-"
	// The controllers give a node up when its lease is 50 s old.
	hollowBeat    = 15 * time.Second
	hollowWorkers = 32
)

type hollowNodes struct {
	client kubernetes.Interface
	names  []string
	pods   listers.PodLister
	due    workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

// runHollow registers nodes and plays them for as long as it runs; they stay registered after it.
func runHollow(arguments []string) {
	flags := flag.NewFlagSet("hollow", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	count := flags.Int("count", 1, "how many nodes")
	flags.Parse(arguments)
	capacity := core.ResourceList{
		core.ResourceCPU:              resource.MustParse("96"),
		core.ResourceMemory:           resource.MustParse("1Ti"),
		core.ResourceEphemeralStorage: resource.MustParse("2Ti"),
		core.ResourcePods:             resource.MustParse("100"),
	}
	for _, one := range flags.Args() {
		name, number := amount(one)
		capacity[core.ResourceName(name)] = *resource.NewQuantity(int64(number), resource.DecimalSI)
	}
	h := &hollowNodes{
		client: connect(*kubeconfig),
		due:    workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]()),
	}
	for number := range *count {
		h.names = append(h.names, fmt.Sprintf("%s%04d", hollowPrefix, number))
	}
	h.register(capacity)
	go h.stayAlive()
	h.play()
}

// connect fails the process unless the file says how; calls are not held back on this side.
func connect(kubeconfig string) kubernetes.Interface {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		fail("%s: %v", kubeconfig, err)
	}
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return kubernetes.NewForConfigOrDie(config)
}

func (h *hollowNodes) register(capacity core.ResourceList) {
	begun := time.Now()
	h.each(func(name string) {
		now := meta.Now()
		ready := core.NodeCondition{
			Type: core.NodeReady, Status: core.ConditionTrue, Reason: "Hollow",
			LastHeartbeatTime: now, LastTransitionTime: now,
		}
		node := &core.Node{
			ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{hollowKey: "true", core.LabelHostname: name}},
			Spec:       core.NodeSpec{Taints: []core.Taint{{Key: hollowKey, Effect: core.TaintEffectNoSchedule}}},
			Status:     core.NodeStatus{Capacity: capacity, Allocatable: capacity, Conditions: []core.NodeCondition{ready}},
		}
		_, err := h.client.CoreV1().Nodes().Create(context.Background(), node, meta.CreateOptions{})
		if err != nil && !errors.IsAlreadyExists(err) {
			fail("%s: %v", name, err)
		}
		h.renew(name)
	})
	log.Printf("%d nodes after %.1f s", len(h.names), time.Since(begun).Seconds())
}

func (h *hollowNodes) stayAlive() {
	for range time.Tick(hollowBeat) {
		h.each(h.renew)
	}
}

func (h *hollowNodes) renew(name string) {
	client := h.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	now, seconds := meta.NowMicro(), int32(60)
	patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, now.UTC().Format("2006-01-02T15:04:05.000000Z"))
	_, err := client.Patch(context.Background(), name, "application/merge-patch+json", []byte(patch), meta.PatchOptions{})
	if errors.IsNotFound(err) {
		lease := &leases.Lease{
			ObjectMeta: meta.ObjectMeta{Name: name},
			Spec:       leases.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}
		_, err = client.Create(context.Background(), lease, meta.CreateOptions{})
	}
	if err != nil {
		log.Printf("lease of %s: %v", name, err)
	}
}

// play watches all pods, and moves those of hollow nodes along.
func (h *hollowNodes) play() {
	factory := informers.NewSharedInformerFactory(h.client, 0)
	pods := factory.Core().V1().Pods()
	h.pods = pods.Lister()
	seen := func(object any) {
		if pod, ok := object.(*core.Pod); ok && strings.HasPrefix(pod.Spec.NodeName, hollowPrefix) {
			h.due.Add(cache.MetaObjectToName(pod))
		}
	}
	pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    seen,
		UpdateFunc: func(_, now any) { seen(now) },
	})
	factory.Start(nil)
	factory.WaitForCacheSync(nil)
	var workers sync.WaitGroup
	for range hollowWorkers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				name, _ := h.due.Get()
				wait, err := h.advance(name)
				switch {
				case err != nil:
					h.due.AddRateLimited(name)
				case wait > 0:
					h.due.AddAfter(name, wait)
				default:
					h.due.Forget(name)
				}
				h.due.Done(name)
			}
		}()
	}
	workers.Wait()
}

// advance writes the state that the pod is due, if any, and says after how long to look again (0: when it changes).
func (h *hollowNodes) advance(name cache.ObjectName) (time.Duration, error) {
	found, err := h.pods.Pods(name.Namespace).Get(name.Name)
	if err != nil {
		return 0, nil // gone
	}
	client := h.client.CoreV1().Pods(name.Namespace)
	if found.DeletionTimestamp != nil {
		at := int64(0)
		err := client.Delete(context.Background(), name.Name, meta.DeleteOptions{GracePeriodSeconds: &at})
		return 0, settled(err)
	}
	if found.Status.Phase == core.PodSucceeded || found.Status.Phase == core.PodFailed {
		return 0, nil
	}
	runs, _ := time.ParseDuration(found.Annotations[hollowKey+"/runs"])
	exit, _ := strconv.ParseInt(found.Annotations[hollowKey+"/exit"], 10, 32)
	pod, now := found.DeepCopy(), meta.Now()
	begun := pod.Status.StartTime
	if begun == nil {
		begun = &now
	}
	left := runs - now.Sub(begun.Time)
	if left > 0 && pod.Status.Phase == core.PodRunning {
		return left, nil
	}
	state := core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: *begun}}
	pod.Status.Phase = core.PodRunning
	if left <= 0 {
		ended := core.ContainerStateTerminated{ExitCode: int32(exit), Reason: "Completed", StartedAt: *begun, FinishedAt: now}
		pod.Status.Phase = core.PodSucceeded
		if exit != 0 {
			ended.Reason, pod.Status.Phase = "Error", core.PodFailed
		}
		state = core.ContainerState{Terminated: &ended}
	}
	pod.Status.StartTime = begun
	pod.Status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, core.ContainerStatus{
			Name: container.Name, Image: container.Image, State: state, Ready: left > 0,
		})
	}
	_, err = client.UpdateStatus(context.Background(), pod, meta.UpdateOptions{})
	return 0, settled(err)
}

// settled is nil for what the next event of the watch puts right by itself.
func settled(err error) error {
	if errors.IsNotFound(err) || errors.IsConflict(err) {
		return nil
	}
	return err
}

// each does the work for every node, several at a time.
func (h *hollowNodes) each(work func(name string)) {
	names := make(chan string)
	var workers sync.WaitGroup
	for range hollowWorkers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for name := range names {
				work(name)
			}
		}()
	}
	for _, name := range h.names {
		names <- name
	}
	close(names)
	workers.Wait()
}
