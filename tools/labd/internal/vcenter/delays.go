package vcenter

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// Delays says how long tasks last, by the simulator's name of the task; the empty name stands for all others.
type Delays map[string]time.Duration

// taskWords maps what a user writes to the simulator's names of tasks.
var taskWords = map[string][]string{
	"create":   {"CreateVm"},
	"power":    {"PowerOn", "PowerOff", "Reset"},
	"on":       {"PowerOn"},
	"off":      {"PowerOff"},
	"reconfig": {"ReconfigVm"},
	"destroy":  {"Destroy"},
	"clone":    {"CloneVm"},
	"all":      {""},
}

// ParseDelays reads "create=200ms,power=100ms". What comes later counts.
func ParseDelays(text string) (Delays, error) {
	parsed := Delays{}
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		word, value, _ := strings.Cut(item, "=")
		d, err := time.ParseDuration(value)
		names, known := taskWords[word]
		if err != nil || d < 0 || !known {
			return nil, fmt.Errorf("%q is no task delay; write TASK=DURATION, such as create=200ms, with TASK one of %s", item, strings.Join(words(), ", "))
		}
		for _, name := range names {
			parsed[name] = d
		}
	}
	return parsed, nil
}

func (d Delays) of(task string) time.Duration {
	if delay, ok := d[task]; ok {
		return delay
	}
	return d[""]
}

func words() []string {
	var all []string
	for w := range taskWords {
		all = append(all, w)
	}
	sort.Strings(all)
	return all
}
