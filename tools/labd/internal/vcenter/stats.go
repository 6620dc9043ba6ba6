package vcenter

import (
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stats counts what clients ask of vCenter.
type stats struct {
	mu    sync.Mutex
	since time.Time
	cpu   time.Duration // of the process, when the count began
	calls map[string]int
	rest  map[string]int
	tasks map[string]int
}

// Stats is what `tools/lab stats` prints about vCenter.
type Stats struct {
	Since      time.Time      `json:"since"`
	Seconds    float64        `json:"seconds"`
	CPUSeconds float64        `json:"cpuSeconds"`
	Calls      map[string]int `json:"calls"`
	CallsTotal int            `json:"callsTotal"`
	REST       map[string]int `json:"rest"`
	Tasks      map[string]int `json:"tasks"`
	TasksTotal int            `json:"tasksTotal"`
}

func newStats() *stats {
	s := &stats{}
	s.reset()
	return s
}

func (s *stats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.cpu = time.Now(), cpuTime()
	s.calls, s.rest, s.tasks = map[string]int{}, map[string]int{}, map[string]int{}
}

func (s *stats) call(method string) {
	s.mu.Lock()
	s.calls[method]++
	s.mu.Unlock()
}

func (s *stats) task(name string) {
	s.mu.Lock()
	s.tasks[name]++
	s.mu.Unlock()
}

// request counts what is not SOAP: REST and file transfers, by method and the start of the path.
func (s *stats) request(r *http.Request) {
	parts := strings.SplitN(strings.Trim(r.URL.Path, "/"), "/", 6)
	if len(parts) > 5 {
		parts = parts[:5]
	}
	if parts[0] != "rest" && parts[0] != "api" {
		parts = parts[:1]
	}
	s.mu.Lock()
	s.rest[r.Method+" /"+strings.Join(parts, "/")]++
	s.mu.Unlock()
}

func (s *stats) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := Stats{Since: s.since, Seconds: time.Since(s.since).Seconds(), CPUSeconds: (cpuTime() - s.cpu).Seconds(),
		Calls: map[string]int{}, REST: map[string]int{}, Tasks: map[string]int{}}
	for name, n := range s.calls {
		now.Calls[name] = n
		now.CallsTotal += n
	}
	for name, n := range s.tasks {
		now.Tasks[name] = n
		now.TasksTotal += n
	}
	for name, n := range s.rest {
		now.REST[name] = n
	}
	return now
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
