package lab

import (
	"context"
	"encoding/json"
	"os"

	"vch-kubelet/tools/labd/internal/registry"
)

// RegistryConfig is how the lab's registry runs. It has the lab's images, and those that somebody has laid into the lab's directory.
func (l *Lab) RegistryConfig() registry.Config {
	layouts := []string{l.Options.Images}
	if _, err := os.Stat(l.path("images", "index.json")); err == nil {
		layouts = append(layouts, l.path("images"))
	}
	return registry.Config{
		Layouts: layouts, Address: l.ownAddress(registryPort), Plain: l.ownAddress(registryPlainPort), Storage: l.ownAddress(registryStoragePort),
		CertFile: l.path("pki", "registry.crt"), KeyFile: l.path("pki", "registry.key"),
	}
}

// RegistriesFile tells a vch-kubelet that the lab's registry is a mirror.
func (l *Lab) RegistriesFile() string { return l.path("registries.json") }

func registryReady(ctx context.Context, l *Lab) error {
	return l.get(ctx, "https://"+l.ownAddress(registryPort)+"/v2/_catalog")
}

// writeRegistries writes the configuration of registries for vch-kubelet: the lab's stands for those whose images it has, so that
// nothing is asked outside, and can be named by its address.
func (l *Lab) writeRegistries() error {
	type entry struct {
		Prefix      string   `json:"prefix"`
		Mirrors     []string `json:"mirrors,omitempty"`
		MirrorsOnly bool     `json:"mirrorsOnly,omitempty"`
		CAFile      string   `json:"caFile,omitempty"`
		PlainHTTP   bool     `json:"plainHttp,omitempty"`
	}
	secure, plain := l.ownAddress(registryPort), l.ownAddress(registryPlainPort)
	ca := l.path("pki", "ca.crt")
	entries := []entry{{Prefix: secure, CAFile: ca}, {Prefix: plain, PlainHTTP: true}}
	for _, prefix := range []string{"docker.io", "registry.k8s.io"} {
		entries = append(entries, entry{Prefix: prefix, Mirrors: []string{"https://" + secure}, MirrorsOnly: true, CAFile: ca})
	}
	data, err := json.MarshalIndent(map[string]any{"registries": entries}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(l.RegistriesFile(), append(data, '\n'), 0o644)
}

// registryEnv sets the shell variables that tell about the registry.
func (l *Lab) registryEnv(set func(name, value string)) {
	if l.Options.Images == "" {
		return
	}
	set("REGISTRY_URL", "https://"+l.ownAddress(registryPort))
	set("REGISTRY_PLAIN_URL", "http://"+l.ownAddress(registryPlainPort))
	set("REGISTRY_CA", l.path("pki", "ca.crt"))
	set("REGISTRY_USER", registry.User)
	set("REGISTRY_PASSWORD", registry.Password)
	set("REGISTRIES_FILE", l.RegistriesFile())
}
