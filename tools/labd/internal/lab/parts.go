package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// part is one process of a lab.
type part struct {
	name     string
	argv     func(l *Lab) ([]string, error)
	ready    func(ctx context.Context, l *Lab) error // nil: the process answers
	patience time.Duration                           // how long it may take until it is ready, and to stop
}

// keeper holds the lab's addresses from up to down; nobody stops it alone.
var keeper = part{
	name: "keeper",
	argv: func(l *Lab) ([]string, error) { return self("keeper", strconv.Itoa(l.Net), l.Options.Guests) },
	ready: func(ctx context.Context, l *Lab) error {
		return dial(ctx, "tcp", fmt.Sprintf("127.%d.0.1:%d", l.Net, keeperPort))
	},
	patience: 5 * time.Second,
}

// fixedParts are the parts that every lab has, in the order in which they start.
var fixedParts = []part{
	{"etcd", etcdArgs, func(ctx context.Context, l *Lab) error {
		return l.get(ctx, "http://"+l.address(portEtcd)+"/health")
	}, 20 * time.Second},
	{"apiserver", apiserverArgs, func(ctx context.Context, l *Lab) error {
		return l.get(ctx, "https://"+l.address(portAPIServer)+"/readyz")
	}, 60 * time.Second},
	{"registry", func(l *Lab) ([]string, error) { return self("registry", l.Dir) }, registryReady, 20 * time.Second},
	{"vcenter", func(l *Lab) ([]string, error) { return self("vcenter", l.Dir) }, vcenterReady, 30 * time.Second},
	{"guests", guestsArgs, func(ctx context.Context, l *Lab) error { return dial(ctx, "unix", l.path("guests.sock")) }, 20 * time.Second},
	{"controller-manager", controllerManagerArgs, func(ctx context.Context, l *Lab) error {
		return l.get(ctx, "https://"+l.address(portControllerManager)+"/healthz")
	}, 60 * time.Second},
	{"scheduler", schedulerArgs, func(ctx context.Context, l *Lab) error {
		return l.get(ctx, "https://"+l.address(portScheduler)+"/healthz")
	}, 60 * time.Second},
	{"approver", func(l *Lab) ([]string, error) { return self("approver", l.Dir) }, nil, 5 * time.Second},
}

// parts returns the lab's parts, its nodes last, in the order in which they start.
func (l *Lab) parts() []part {
	var all []part
	for _, p := range fixedParts {
		if p.name == "guests" && l.Options.Guests == "none" || p.name == "registry" && l.Options.Images == "" {
			continue
		}
		all = append(all, p)
	}
	for _, n := range l.Nodes {
		if n.Run {
			all = append(all, l.kubeletPart(n))
		}
	}
	return all
}

func (l *Lab) part(name string) (part, error) {
	var names []string
	for _, p := range l.parts() {
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return part{}, fmt.Errorf("this lab has no part %q; it has %s", name, strings.Join(names, ", "))
}

func (l *Lab) path(elem ...string) string { return filepath.Join(append([]string{l.Dir}, elem...)...) }

// self is a command line of this very program.
func self(args ...string) ([]string, error) {
	exe, err := os.Executable()
	return append([]string{exe}, args...), err
}

func etcdArgs(l *Lab) ([]string, error) {
	bin := l.Options.Etcd
	if bin == "" {
		bin = filepath.Join(l.KubeBin, "etcd")
	}
	client, peer := "http://"+l.address(portEtcd), "http://"+l.address(portEtcdPeer)
	return []string{bin, "--name=lab", "--data-dir=" + l.path("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=lab=" + peer,
		"--unsafe-no-fsync", "--quota-backend-bytes=4294967296", "--auto-compaction-mode=periodic", "--auto-compaction-retention=10m",
		"--log-level=warn"}, nil
}

func apiserverArgs(l *Lab) ([]string, error) {
	pki := func(name string) string { return l.path("pki", name) }
	bind, advertise, endpoints := "127.0.0.1", "127.0.0.1", "none" // an EndpointSlice may not hold a loopback address
	if l.virtualMachines() {
		bind, advertise, endpoints = "0.0.0.0", l.Gateway(), "lease" // pods can reach it
	}
	return []string{filepath.Join(l.KubeBin, "kube-apiserver"),
		"--etcd-servers=http://" + l.address(portEtcd),
		"--bind-address=" + bind, "--advertise-address=" + advertise, "--secure-port=" + strconv.Itoa(l.port(portAPIServer)),
		"--endpoint-reconciler-type=" + endpoints,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--client-ca-file=" + pki("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc", "--api-audiences=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki("service-account.pub"), "--service-account-signing-key-file=" + pki("service-account.key"),
		"--requestheader-client-ca-file=" + pki("front-proxy/ca.crt"), "--requestheader-allowed-names=" + frontProxy,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki("front-proxy/client.crt"), "--proxy-client-key-file=" + pki("front-proxy/client.key"),
		"--kubelet-certificate-authority=" + pki("ca.crt"),
		"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--audit-policy-file=" + l.path("audit.yaml"), "--audit-log-path=" + l.path("log", "audit.log"),
		"--max-requests-inflight=3000", "--max-mutating-requests-inflight=1500",
		"--profiling=true"}, nil
}

func controllerManagerArgs(l *Lab) ([]string, error) {
	pki := func(name string) string { return l.path("pki", name) }
	kubeconfig := pki("controller-manager.kubeconfig")
	return []string{filepath.Join(l.KubeBin, "kube-controller-manager"),
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(l.port(portControllerManager)),
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--leader-elect=false", "--use-service-account-credentials=true",
		"--service-account-private-key-file=" + pki("service-account.key"), "--root-ca-file=" + pki("ca.crt"),
		"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
		"--allocate-node-cidrs=true", "--cluster-cidr=" + l.PodCIDR(), "--node-cidr-mask-size=" + strconv.Itoa(nodeCIDRLen),
		"--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-gc-syncs=30"}, nil
}

func schedulerArgs(l *Lab) ([]string, error) {
	kubeconfig := l.path("pki", "scheduler.kubeconfig")
	return []string{filepath.Join(l.KubeBin, "kube-scheduler"), "--config=" + l.path("scheduler.yaml"),
		"--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(l.port(portScheduler)),
		"--tls-cert-file=" + l.path("pki", "apiserver.crt"), "--tls-private-key-file=" + l.path("pki", "apiserver.key")}, nil
}

func guestsArgs(l *Lab) ([]string, error) {
	if l.virtualMachines() {
		return self("qemu", l.Dir)
	}
	bin, err := l.findBinary("guest-sim")
	return []string{bin, "--control", l.path("guests.sock")}, err
}

// findBinary finds one of the project's own programs.
func (l *Lab) findBinary(name string) (string, error) {
	if l.Options.Bin == "" {
		return "", fmt.Errorf("%s is not known to this lab: give `tools/lab up` a build directory with --bin", name)
	}
	file := filepath.Join(l.Options.Bin, "cmd", name, name)
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("%s is not built yet: %w", name, err)
	}
	return file, nil
}

// vcenterReady asks vCenter, whose door may be shut on purpose.
func vcenterReady(ctx context.Context, l *Lab) error {
	return l.get(ctx, "https://"+l.address(portVCenter)+"/about")
}

// startPart starts a part and waits until it answers.
func (l *Lab) startPart(p part) error {
	argv, err := p.argv(l)
	if err != nil {
		return err
	}
	mark := logSize(l.LogFile(p.name))
	if err := l.spawn(p.name, argv, nil); err != nil {
		return err
	}
	return l.waitReady(p, mark)
}

func (l *Lab) waitReady(p part, mark int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	last := errors.New("not asked yet")
	for {
		if p.ready == nil {
			last = nil
		} else {
			last = p.ready(ctx, l)
		}
		if l.Pid(p.name) == 0 {
			return fmt.Errorf("%s stopped while it started; the end of %s:\n%s", p.name, l.LogFile(p.name), tailFrom(l.LogFile(p.name), mark, 15))
		}
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer after %s (%v); the end of %s:\n%s", p.name, seconds(p.patience), last,
				l.LogFile(p.name), tailFrom(l.LogFile(p.name), mark, 15))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func logSize(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

// tailFrom returns the last lines that were written after mark.
func tailFrom(file string, mark int64, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	if int64(len(data)) >= mark {
		data = data[mark:]
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// client talks to the lab's own servers as its administrator.
func (l *Lab) client() (*http.Client, error) {
	ca, err := os.ReadFile(l.path("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(l.path("pki", "admin.crt"), l.path("pki", "admin.key"))
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}}, nil
}

// get succeeds when url answers 200.
func (l *Lab) get(ctx context.Context, url string) error {
	_, err := l.fetch(ctx, url)
	return err
}

func (l *Lab) fetch(ctx context.Context, url string) ([]byte, error) {
	client, err := l.client()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, res.Status)
	}
	return body, err
}

func dial(ctx context.Context, network, address string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.Close()
	}
	return err
}
