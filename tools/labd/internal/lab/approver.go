package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Nothing in Kubernetes approves the serving certificate of a kubelet; an administrator does, or a controller that knows
// the machines. The lab approves what a node asks for itself.

const certificatesPath = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

type signingRequest struct {
	Spec struct {
		SignerName string
		Username   string
		Groups     []string
	}
	Status struct {
		Conditions []struct{ Type string }
	}
}

// approvable tells whether a request is one that a node makes for itself and nobody has decided on.
func (r *signingRequest) approvable() bool {
	return (r.Spec.SignerName == "kubernetes.io/kubelet-serving" || r.Spec.SignerName == "kubernetes.io/kube-apiserver-client-kubelet") &&
		strings.HasPrefix(r.Spec.Username, "system:node:") && slices.Contains(r.Spec.Groups, "system:nodes") &&
		len(r.Status.Conditions) == 0
}

// Approve watches certificate signing requests until it is killed.
func (l *Lab) Approve() error {
	client, err := l.client()
	if err != nil {
		return err
	}
	client.Timeout = 0
	for {
		if err := l.approveFromWatch(client); err != nil {
			log.Printf("watch ended: %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (l *Lab) approveFromWatch(client *http.Client) error {
	server := "https://" + l.address(portAPIServer)
	res, err := client.Get(server + certificatesPath + "?watch=true&timeoutSeconds=300")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	for decoder := json.NewDecoder(res.Body); ; {
		var event struct {
			Type   string
			Object json.RawMessage
		}
		if err := decoder.Decode(&event); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if event.Type != "ADDED" && event.Type != "MODIFIED" {
			continue
		}
		var request signingRequest
		if json.Unmarshal(event.Object, &request) != nil || !request.approvable() {
			continue
		}
		if err := approve(client, server, event.Object); err != nil {
			log.Printf("cannot approve a request of %s: %v", request.Spec.Username, err)
		} else {
			log.Printf("approved %s for %s", request.Spec.SignerName, request.Spec.Username)
		}
	}
}

// approve puts the request back with an Approved condition.
func approve(client *http.Client, server string, object []byte) error {
	var request map[string]any
	if err := json.Unmarshal(object, &request); err != nil {
		return err
	}
	request["status"] = map[string]any{"conditions": []any{map[string]any{
		"type": "Approved", "status": "True", "reason": "LabApproved", "message": "The lab approves what its nodes ask for.",
	}}}
	metadata, _ := request["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, server+certificatesPath+"/"+name+"/approval", bytes.NewReader(body))
	if err != nil {
		return err
	}
	put.Header.Set("Content-Type", "application/json")
	res, err := client.Do(put)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	return nil
}
