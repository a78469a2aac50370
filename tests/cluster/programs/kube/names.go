package main

import (
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
)

// The names that pods ask for, as https://github.com/kubernetes/dns/blob/master/docs/specification.md has them:
// SERVICE.NAMESPACE.svc.cluster.local, and HOSTNAME before it for the pods of a headless Service. Addresses (A) over
// UDP only. Any other name does not exist: nothing is asked beyond this machine.
const (
	zone = ".svc.cluster.local."
	// Seconds: an answer may be wrong as soon as a pod ends.
	timeToLive = 1
	// What every client takes over UDP (RFC 1035, 4.2.1).
	largest = 512
)

// answer returns when it cannot listen.
func (s *services) answer(address string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		size, client, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if reply := s.reply(buffer[:size]); reply != nil {
			socket.WriteTo(reply, client)
		}
	}
}

// reply is nothing for what is no question.
func (s *services) reply(packet []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil || header.Response {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	addresses, exists := s.resolve(strings.ToLower(question.Name.String()))
	message := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true,
			RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{question},
	}
	if !exists {
		message.RCode = dnsmessage.RCodeNameError
	}
	if question.Type == dnsmessage.TypeA {
		for _, address := range addresses {
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: timeToLive},
				Body:   &dnsmessage.AResource{A: address},
			})
		}
	}
	for {
		packed, err := message.Pack()
		if err != nil {
			return nil
		}
		if len(packed) <= largest {
			return packed
		}
		// Any of many pods will do: whoever wants all asks the API.
		message.Answers = message.Answers[:len(message.Answers)-1]
	}
}

func (s *services) resolve(name string) (addresses [][4]byte, exists bool) {
	labels, inside := strings.CutSuffix(name, zone)
	if !inside {
		return nil, false
	}
	parts := strings.Split(labels, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, false
	}
	hostname := ""
	if len(parts) == 3 {
		hostname, parts = parts[0], parts[1:]
	}
	service, err := s.services.Services(parts[1]).Get(parts[0])
	if err != nil {
		return nil, false
	}
	add := func(text string) {
		if address := net.ParseIP(text).To4(); address != nil {
			addresses = append(addresses, [4]byte(address))
		}
	}
	if service.Spec.ClusterIP != core.ClusterIPNone {
		add(service.Spec.ClusterIP)
		return addresses, hostname == ""
	}
	s.endpoints(service.Namespace, service.Name, func(_ *discovery.EndpointSlice, endpoint discovery.Endpoint) {
		if hostname == "" || endpoint.Hostname != nil && *endpoint.Hostname == hostname {
			add(endpoint.Addresses[0])
		}
	})
	return addresses, hostname == "" || len(addresses) > 0
}
