package main

import (
	"errors"
	"strings"
	"testing"
)

func TestEditAll(t *testing.T) {
	files := map[string]string{"a.go": "one two three two", "b.go": "four"}
	read := func(name string) (string, error) {
		if text, ok := files[name]; ok {
			return text, nil
		}
		return "", errors.New("no such file")
	}

	got, err := editAll([]edit{{"a.go", "", "one", "1"}, {"a.go", "", "three", "3"}, {"b.go", "", "four", "4"}}, read)
	if err != nil || got["a.go"] != "1 two 3 two" || got["b.go"] != "4" {
		t.Errorf("got %v, %v", got, err)
	}

	_, err = editAll([]edit{{"a.go", "said twice", "two", "2"}, {"b.go", "gone", "five", "5"}}, read)
	for _, want := range []string{"a.go: found 2 times", "said twice", "b.go: found 0 times", "gone"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}

	if _, err = editAll([]edit{{"c.go", "", "x", "y"}}, read); err == nil {
		t.Error("a file that is not there was no error")
	}
}

// The edits must fit the version of the module that go.mod names.
func TestEditsFitTheModule(t *testing.T) {
	t.Chdir("..")
	if err := run(t.TempDir()); err != nil {
		t.Error(err)
	}
}
