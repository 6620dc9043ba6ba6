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
			return (&net.Dialer{}).DialContext(ctx, "unix", l.ControlSocket())
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

// ControlSocket is where the vCenter process takes commands.
func (l *Lab) ControlSocket() string { return l.path("vcenter.sock") }

// GuestsSocket is where the guests listen.
func (l *Lab) GuestsSocket() string { return l.path("guests.sock") }

// DatastoreDir holds the files of the datastore.
func (l *Lab) DatastoreDir() string { return l.path("datastore") }

// ScratchDir is for what the simulator keeps beside its datastore.
func (l *Lab) ScratchDir() string { return l.path("vcenter") }
