package lab

import (
	"encoding/json"
	"maps"
	"os"
	"testing"
)

func TestRegistriesFile(t *testing.T) {
	l := testLab(t)
	if err := l.writeRegistries(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(l.RegistriesFile())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Registries []struct {
			Prefix, CAFile string
			Mirrors        []string
			MirrorsOnly    bool
			PlainHTTP      bool
		}
	}
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	mirrors := map[string]int{}
	for _, r := range document.Registries {
		mirrors[r.Prefix] = len(r.Mirrors)
		if r.MirrorsOnly != (len(r.Mirrors) != 0) || r.PlainHTTP == (r.CAFile != "") {
			t.Errorf("%+v", r)
		}
	}
	want := map[string]int{"docker.io": 1, "registry.k8s.io": 1, "127.20.0.1:29998": 0, "127.20.0.1:29997": 0}
	if !maps.Equal(mirrors, want) {
		t.Errorf("mirrors of %v, want %v", mirrors, want)
	}
	for _, port := range []int{registryPort, registryPlainPort, registryStoragePort} {
		if last := (&State{Net: lastNet}).port(portsPerLab); port <= last || port == keeperPort {
			t.Errorf("port %d is taken", port)
		}
	}
}
