package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"vch-kubelet/tools/labd/internal/vcenter"
)

// VCenter sends a command to the vCenter process over its control socket and returns the answer.
func (l *Lab) VCenter(command string, argument any) ([]byte, error) {
	body, err := json.Marshal(argument)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", l.path("vcenter.sock"))
		},
	}}
	res, err := client.Post("http://vcenter/"+command, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("vcenter does not answer (start it with: tools/lab start %s vcenter): %w", l.Dir, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	answer = bytes.TrimSpace(answer)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(answer)))
	}
	return answer, err
}

// DatastoreDir holds the files of the datastore.
func (l *Lab) DatastoreDir() string { return l.path("datastore") }

// VCenterCA is the certificate that vouches for the lab's servers.
func (l *Lab) VCenterCA() string { return l.path("pki", "ca.crt") }

// VCenterConfig is how the lab's vCenter runs.
func (l *Lab) VCenterConfig() (vcenter.Config, error) {
	password, err := l.VCenterPassword()
	if err != nil {
		return vcenter.Config{}, err
	}
	delays, err := vcenter.ParseDelays(l.Options.TaskDelay)
	c := vcenter.Config{
		Address: l.address(portVCenter), CertFile: l.path("pki", "vcenter.crt"), KeyFile: l.path("pki", "vcenter.key"),
		User: VCenterUser, Password: password,
		DatastoreDir: l.DatastoreDir(), ScratchDir: l.path("vcenter"),
		ControlSocket: l.path("vcenter.sock"), TaskDelays: delays,
	}
	if l.virtualMachines() {
		c.Files = map[string]string{bootstrapISO: l.Options.ISO}
	}
	if l.Options.Guests != "none" {
		c.GuestsSocket = l.path("guests.sock")
	}
	return c, err
}
