package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// monitor is QEMU's control connection (QMP).
type monitor struct {
	conn net.Conn

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
	gone    bool
}

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// event is what QEMU tells unasked.
type event struct {
	Name string `json:"event"`
	Data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
		Open   bool   `json:"open"`
	} `json:"data"`
}

const monitorTimeout = 10 * time.Second

var errMonitorGone = errors.New("QEMU has ended")

func newMonitor(conn net.Conn) *monitor { return &monitor{conn: conn, waiting: map[int]chan reply{}} }

// serve hands events to handle until the connection ends.
func (m *monitor) serve(handle func(event)) {
	decoder := json.NewDecoder(m.conn)
	for {
		var line struct {
			event
			reply
			ID *int `json:"id"`
		}
		if err := decoder.Decode(&line); err != nil {
			break
		}
		switch {
		case line.Name != "":
			handle(line.event)
		case line.ID != nil:
			m.mu.Lock()
			if c, ok := m.waiting[*line.ID]; ok {
				c <- line.reply
				delete(m.waiting, *line.ID)
			}
			m.mu.Unlock()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = true
	for _, c := range m.waiting {
		close(c)
	}
	clear(m.waiting)
}

// execute runs a command and waits for its answer; serve must run.
func (m *monitor) execute(command string, arguments any) (json.RawMessage, error) {
	m.mu.Lock()
	if m.gone {
		m.mu.Unlock()
		return nil, errMonitorGone
	}
	m.next++
	answer := make(chan reply, 1)
	m.waiting[m.next] = answer
	line, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments, "id": m.next})
	if arguments == nil {
		line, err = json.Marshal(map[string]any{"execute": command, "id": m.next})
	}
	if err == nil {
		_ = m.conn.SetWriteDeadline(time.Now().Add(monitorTimeout))
		_, err = m.conn.Write(append(line, '\n'))
	}
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case r, ok := <-answer:
		if !ok {
			return nil, errMonitorGone
		}
		if r.Error != nil {
			return nil, fmt.Errorf("%s: %s: %s", command, r.Error.Class, r.Error.Desc)
		}
		return r.Return, nil
	case <-time.After(monitorTimeout):
		return nil, fmt.Errorf("%s: QEMU does not answer", command)
	}
}
