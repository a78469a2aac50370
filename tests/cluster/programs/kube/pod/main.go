// Command pod is all that runs in the test cluster's own images; it is static and needs no file beside it.
//
// Without arguments it is what holds a pod's namespaces open: it waits until it is told to end, and takes in orphans.
// With arguments it is a container for tests: what each does is below.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: pod [DO...], each in turn:
  clustered         nothing: with this word a clustered task's arguments begin
  print=TEXT        writes a line
  env=NAME          writes NAME=value, or "NAME is not set"
  sleep=DURATION    waits
  get=URL           writes the status and the body that a GET is answered with; tries for half a minute
  api=PATH          the same of the API server, as the pod's account
  lookup=NAME       writes the addresses of a host; tries for half a minute
  nobody=NAME       ends badly unless no host has this name
  serve=ADDR,TEXT   answers every request at ADDR (":8080") with TEXT, until it is told to end
  memory=MIB        takes so much memory and holds on to it
  child=DO          does it in a process of its own, and does not care how that ends
  fill=FILE,MIB     writes so much to a file
  exit=CODE         ends`

func main() {
	if len(os.Args) == 1 {
		hold()
		return
	}
	for _, argument := range os.Args[1:] {
		verb, value, _ := strings.Cut(argument, "=")
		do, known := verbs[verb]
		if !known {
			end(usage)
		}
		do(value)
	}
}

// What was just made in the API is not known everywhere at once.
const (
	tries = 60
	pause = 500 * time.Millisecond
)

var held [][]byte

var verbs = map[string]func(string){
	"clustered": func(string) {},
	"print": func(text string) { fmt.Println(text) },
	"env": func(name string) {
		if value, set := os.LookupEnv(name); set {
			fmt.Printf("%s=%s\n", name, value)
		} else {
			fmt.Println(name, "is not set")
		}
	},
	"sleep": func(text string) {
		duration, err := time.ParseDuration(text)
		if err != nil {
			end(err.Error())
		}
		time.Sleep(duration)
	},
	"get":    func(url string) { get(http.DefaultTransport, url, "") },
	"api":    askAPI,
	"lookup": lookup,
	"nobody": func(name string) {
		addresses, err := net.LookupHost(name)
		var answer *net.DNSError
		if !errors.As(err, &answer) || !answer.IsNotFound {
			end(fmt.Sprint(addresses, err))
		}
		fmt.Println("nobody")
	},
	"serve": func(text string) {
		address, answer, _ := strings.Cut(text, ",")
		handler := func(response http.ResponseWriter, _ *http.Request) { fmt.Fprintln(response, answer) }
		end(http.ListenAndServe(address, http.HandlerFunc(handler)).Error())
	},
	"memory": func(text string) {
		for range number(text) {
			block := make([]byte, 1<<20)
			for place := 0; place < len(block); place += 4096 {
				block[place] = 1
			}
			held = append(held, block)
		}
	},
	"child": func(do string) { exec.Command("/proc/self/exe", do).Run() },
	"fill": func(text string) {
		name, size, _ := strings.Cut(text, ",")
		if err := os.WriteFile(name, make([]byte, number(size)<<20), 0o600); err != nil {
			end(err.Error())
		}
	},
	"exit": func(text string) { os.Exit(number(text)) },
}

func get(transport http.RoundTripper, url, token string) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		end(err.Error())
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for range tries {
		var response *http.Response
		if response, err = client.Do(request); err == nil {
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			fmt.Println(response.StatusCode, strings.Join(strings.Fields(string(body)), " "))
			return
		}
		time.Sleep(pause)
	}
	end(err.Error())
}

func lookup(name string) {
	var err error
	for range tries {
		var addresses []string
		if addresses, err = net.LookupHost(name); err == nil {
			fmt.Println(strings.Join(addresses, " "))
			return
		}
		time.Sleep(pause)
	}
	end(err.Error())
}

// askAPI trusts and says what every pod is given for it.
func askAPI(path string) {
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		end(err.Error())
	}
	token, err := os.ReadFile(account + "token")
	if err != nil {
		end(err.Error())
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	get(transport, "https://kubernetes.default.svc"+path, string(token))
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		end(err.Error())
	}
	return value
}

func end(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(64)
}

func hold() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
