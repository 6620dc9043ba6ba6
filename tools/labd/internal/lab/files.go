package lab

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vch-kubelet/tools/labd/internal/pki"
)

// VCenterUser is who may log in to the lab's vCenter.
const VCenterUser = "administrator@vsphere.local"

// frontProxy is how the API server calls itself when it passes requests on to an extension.
const frontProxy = "front-proxy-client"

// What the lab's vCenter has, by the simulator's names.
const (
	vcenterDatacenter = "DC0"
	vcenterCluster    = "DC0_C0"
	vcenterDatastore  = "LocalDS_0"
	vcenterNetwork    = "DC0_DVPG0"
	bootstrapISO      = "vch/bootstrap.iso" // on the datastore of a lab with virtual machines
)

// VCenterURL is the SDK endpoint of the lab's vCenter.
func (l *Lab) VCenterURL() string { return "https://" + l.address(portVCenter) + "/sdk" }

// VCenterPassword reads the password of VCenterUser.
func (l *Lab) VCenterPassword() (string, error) {
	data, err := os.ReadFile(l.path("vcenter-password"))
	return strings.TrimSpace(string(data)), err
}

// writeFiles makes all certificates, passwords and configuration files of a new lab.
func (l *Lab) writeFiles() error {
	dir := l.path("pki")
	for _, d := range []string{dir, l.path("log"), l.path("pid"), l.path("datastore")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	ca, err := pki.NewCA(dir, "vch-lab-"+filepath.Base(l.Dir))
	if err != nil {
		return err
	}
	loopback := []string{"127.0.0.1", "localhost"}
	if l.virtualMachines() {
		loopback = append(loopback, l.Gateway())
	}
	for name, subject := range map[string]pki.Subject{
		"apiserver":          {User: "kube-apiserver", Hosts: append([]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "10.96.0.1"}, loopback...)},
		"vcenter":            {User: "vcenter", Hosts: loopback},
		"registry":           {User: "registry", Hosts: append([]string{fmt.Sprintf("127.%d.0.1", l.Net)}, loopback...)},
		"admin":              {User: "lab-admin", Groups: []string{"system:masters"}},
		"kubelet-client":     {User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
		"controller-manager": {User: "system:kube-controller-manager"},
		"scheduler":          {User: "system:kube-scheduler"},
	} {
		if _, _, err := ca.Issue(name, subject); err != nil {
			return err
		}
	}
	proxyDir := filepath.Join(dir, "front-proxy")
	if err := os.Mkdir(proxyDir, 0o755); err != nil {
		return err
	}
	proxyCA, err := pki.NewCA(proxyDir, "vch-lab-front-proxy")
	if err != nil {
		return err
	}
	if _, _, err := proxyCA.Issue("client", pki.Subject{User: frontProxy}); err != nil {
		return err
	}
	key, err := pki.WriteKey(filepath.Join(dir, "service-account.key"))
	if err != nil {
		return err
	}
	if err := pki.WritePublicKey(filepath.Join(dir, "service-account.pub"), key); err != nil {
		return err
	}
	for name, file := range map[string]string{
		"admin":              l.path("kubeconfig"),
		"controller-manager": filepath.Join(dir, "controller-manager.kubeconfig"),
		"scheduler":          filepath.Join(dir, "scheduler.kubeconfig"),
	} {
		if err := l.writeKubeconfig(file, name); err != nil {
			return err
		}
	}
	scheduler := fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
clientConnection: {kubeconfig: %q, qps: 500, burst: 1000}
`, filepath.Join(dir, "scheduler.kubeconfig"))
	if err := writeFile(l.path("scheduler.yaml"), []byte(scheduler), 0o644); err != nil {
		return err
	}
	if err := writeFile(l.path("audit.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	if l.Options.Images != "" {
		if err := l.writeRegistries(); err != nil {
			return err
		}
	}
	return writeFile(l.path("vcenter-password"), []byte(randomHex(12)+"\n"), 0o600)
}

// What nodes read in lists and watches: their requests, with the selectors.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: Metadata, userGroups: ["system:nodes"], verbs: [list], omitStages: [ResponseStarted]}
- {level: Metadata, userGroups: ["system:nodes"], verbs: [watch], omitStages: [ResponseComplete]}
- {level: None}
`

// nodeCredentials makes the kubeconfig of system:node:NAME; lifetime 0: a year.
func (l *Lab) nodeCredentials(name string, lifetime time.Duration) error {
	ca, err := pki.LoadCA(l.path("pki"))
	if err != nil {
		return err
	}
	cert := "node-" + name
	if _, _, err := ca.Issue(cert, pki.Subject{User: "system:node:" + name, Groups: []string{"system:nodes"}, Lifetime: lifetime}); err != nil {
		return err
	}
	return l.writeKubeconfig(l.NodeKubeconfig(name), cert)
}

// writeKubeconfig writes a kubeconfig with everything embedded; cert is the name of a certificate in pki.
func (l *Lab) writeKubeconfig(file, cert string) error {
	var data [3]string
	for i, name := range []string{"ca.crt", cert + ".crt", cert + ".key"} {
		b, err := os.ReadFile(l.path("pki", name))
		if err != nil {
			return err
		}
		data[i] = base64.StdEncoding.EncodeToString(b)
	}
	return writeFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster: {server: "https://%s", certificate-authority-data: %s}
contexts:
- name: lab
  context: {cluster: lab, user: %s}
users:
- name: %s
  user: {client-certificate-data: %s, client-key-data: %s}
`, l.address(portAPIServer), data[0], cert, cert, data[1], data[2]), 0o600)
}

// writeEnv writes what a shell needs to use the lab.
func (l *Lab) writeEnv() error {
	password, err := l.VCenterPassword()
	if err != nil {
		return err
	}
	sha1, sha256, err := pki.Thumbprints(l.path("pki", "vcenter.crt"))
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Use with: . " + l.path("env") + "\n")
	set := func(name, value string) {
		fmt.Fprintf(&b, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	set("LAB_DIR", l.Dir)
	set("KUBECONFIG", l.path("kubeconfig"))
	set("KUBECTL", filepath.Join(l.KubeBin, "kubectl"))
	set("POD_CIDR", l.PodCIDR())
	set("LAB_NAMESPACE", l.Namespace())
	set("VCENTER_URL", l.VCenterURL())
	set("VCENTER_USER", VCenterUser)
	set("VCENTER_PASSWORD", password)
	set("VCENTER_PASSWORD_FILE", l.path("vcenter-password"))
	set("VCENTER_CA", l.path("pki", "ca.crt"))
	set("VCENTER_THUMBPRINT", sha256)
	set("VCENTER_THUMBPRINT_SHA1", sha1)
	set("VCENTER_DATACENTER", vcenterDatacenter)
	set("VCENTER_CLUSTER", vcenterCluster)
	set("VCENTER_DATASTORE", vcenterDatastore)
	set("VCENTER_NETWORK", vcenterNetwork)
	set("VCENTER_DATASTORE_DIR", l.path("datastore"))
	l.registryEnv(set)
	for _, n := range l.Nodes {
		if n.Index > 0 {
			continue
		}
		set("NODE_NAME", n.Name)
		set("NODE_KUBECONFIG", l.NodeKubeconfig(n.Name))
		set("VCH_ID", n.VCH)
		set("KUBELET_METRICS", "http://"+l.metricsAddress(n)+"/metrics")
		if pid := l.Pid(n.Part); pid != 0 {
			set("KUBELET_PID", fmt.Sprint(pid))
		}
	}
	if l.KubeBin != "" {
		fmt.Fprintf(&b, "case \":$PATH:\" in *':%s:'*) ;; *) export PATH='%s':\"$PATH\" ;; esac\n", l.KubeBin, l.KubeBin)
	}
	return writeFile(l.path("env"), []byte(b.String()), 0o600)
}
