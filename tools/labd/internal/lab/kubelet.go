package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kubeletFlags are what the lab tells a vch-kubelet, unless the user tells it something else. All that the lab knows of
// its flags is here.
func (l *Lab) kubeletFlags(n Node) []string {
	known := [][2]string{
		{"--kubeconfig", l.NodeKubeconfig(n.Name)},
		{"--node-name", n.Name},
		{"--vcenter-url", l.VCenterURL()},
		{"--vcenter-user", VCenterUser},
		{"--vcenter-password-file", l.path("vcenter-password")},
		{"--vcenter-ca", l.VCenterCA()},
		{"--datacenter", vcenterDatacenter},
		{"--compute-resource", vcenterCluster},
		{"--datastore", vcenterDatastore},
		{"--pod-network", vcenterNetwork},
		{"--resource-pool", n.Name},
		{"--vm-folder", n.Name},
		{"--vch-id", n.VCH},
		{"--state-dir", l.path("kubelet-" + n.Name)},
		{"--metrics-address", l.metricsAddress(n)},
		{"--address", l.kubeletIP()},
		{"--port", strconv.Itoa(l.port(portNodes + 2*n.Index + 1))},
		{"--client-ca-file", l.path("pki", "ca.crt")},
		// Nobody listens there, but pods are made as in a cluster that has a DNS server.
		{"--cluster-dns", "10.96.0.10"},
		{"--cluster-domain", "cluster.local"},
	}
	if l.virtualMachines() {
		known = append(known, [][2]string{
			{"--node-ip", l.kubeletIP()},
			{"--bootstrap-iso", "[" + vcenterDatastore + "] " + bootstrapISO},
		}...)
	}
	if l.Options.Images != "" {
		known = append(known, [2]string{"--registries", l.RegistriesFile()})
	}
	flags := []string{}
	for _, f := range known {
		given := slices.ContainsFunc(n.Flags, func(flag string) bool { return flag == f[0] || strings.HasPrefix(flag, f[0]+"=") })
		if !given {
			flags = append(flags, f[0], f[1])
		}
	}
	return append(flags, n.Flags...)
}

// kubeletPart is the vch-kubelet of a node. It is ready when it answers: its node may have reasons of its own not to be.
func (l *Lab) kubeletPart(n Node) part {
	return part{
		name: n.Part,
		argv: func(l *Lab) ([]string, error) {
			bin, err := l.findBinary("vch-kubelet")
			return append([]string{bin}, l.kubeletFlags(n)...), err
		},
		ready: func(ctx context.Context, l *Lab) error {
			return l.get(ctx, "http://"+l.metricsAddress(n)+"/healthz")
		},
		patience: 30 * time.Second,
	}
}

// waitNodeReady waits until a new node is Ready, and until its kubelet has the certificate that the API server trusts: logs
// and exec work from then on.
func (l *Lab) waitNodeReady(n Node) error {
	p := l.kubeletPart(n)
	p.patience = 60 * time.Second
	p.ready = func(ctx context.Context, l *Lab) error { return l.nodeReady(ctx, n.Name) }
	return l.waitReady(p, 0)
}

// kubeletIP is where the API server finds the kubelets.
func (l *Lab) kubeletIP() string {
	if l.virtualMachines() {
		return l.Gateway()
	}
	return "127.0.0.1"
}

func (l *Lab) metricsAddress(n Node) string { return l.address(portNodes + 2*n.Index) }

// NodeKubeconfig is the file with a node's credentials.
func (l *Lab) NodeKubeconfig(name string) string { return l.path("node-" + name + ".kubeconfig") }

// nodeReady succeeds when the node's Ready condition is True.
func (l *Lab) nodeReady(ctx context.Context, name string) error {
	body, err := l.fetch(ctx, "https://"+l.address(portAPIServer)+"/api/v1/nodes/"+name)
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions      []struct{ Type, Status, Message string }
			DaemonEndpoints struct{ KubeletEndpoint struct{ Port int } }
		}
	}
	if err := json.Unmarshal(body, &node); err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return l.kubeletTrusted(ctx, name, node.Status.DaemonEndpoints.KubeletEndpoint.Port)
			}
			return fmt.Errorf("node %s is not Ready: %s", name, c.Message)
		}
	}
	return errors.New("node " + name + " has no Ready condition")
}

// kubeletTrusted succeeds when the kubelet API at the port has a certificate that the API server trusts, or when there is none (port 0).
func (l *Lab) kubeletTrusted(ctx context.Context, name string, port int) error {
	if port == 0 {
		return nil
	}
	// The API server's proxy refuses nodes with loopback addresses; others can be reached from the lab's network only.
	url := "https://" + net.JoinHostPort(l.kubeletIP(), strconv.Itoa(port)) + "/healthz"
	if l.virtualMachines() {
		url = "https://" + l.address(portAPIServer) + "/api/v1/nodes/" + name + "/proxy/healthz"
	}
	return l.get(ctx, url)
}

// AddNode makes credentials for a node, which last for a lifetime (0: a year), and, if run, starts a vch-kubelet with them.
func (l *Lab) AddNode(name string, run bool, flags []string, lifetime time.Duration) error {
	unlock, err := l.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkNodeName(name); err != nil {
		return err
	}
	return l.addNode(name, run, flags, lifetime)
}

func (l *Lab) addNode(name string, run bool, flags []string, lifetime time.Duration) error {
	index := -1
	for i, n := range l.Nodes {
		if n.Name == name {
			index = i
		}
	}
	if index < 0 {
		index = len(l.Nodes)
		if portNodes+2*index+1 >= portsPerLab {
			return errors.New("this lab has as many nodes as it can have")
		}
		part := "kubelet"
		if index > 0 {
			part = "kubelet-" + name
		}
		l.Nodes = append(l.Nodes, Node{Name: name, Part: part, VCH: randomUUID(), Index: index})
		if err := l.nodeCredentials(name, lifetime); err != nil {
			return err
		}
	}
	n := &l.Nodes[index]
	if run {
		if l.Pid(n.Part) != 0 {
			return fmt.Errorf("node %s runs already; stop it with: tools/lab stop %s %s", name, l.Dir, n.Part)
		}
		n.Run, n.Flags = true, flags
	}
	if err := l.save(); err != nil {
		return err
	}
	if run {
		err := l.startPart(l.kubeletPart(*n))
		if err == nil {
			err = l.waitNodeReady(*n)
		}
		if envErr := l.writeEnv(); err == nil {
			err = envErr
		}
		return err
	}
	return l.writeEnv()
}

func checkNodeName(name string) error {
	if name == "" || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.Trim(name, "-.") != name {
		return fmt.Errorf("%q is no node name: use up to 63 of a-z, 0-9, '-' and '.'", name)
	}
	return nil
}
