// How every peer in Go sends and is measured: from the first tenth of the messages, which warm it up, to the last.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const atOnce = 64

var (
	account = "AC" + strings.Repeat("0", 32)
	address = os.Getenv("SINK") + "/2010-04-01/Accounts/" + account + "/Messages.json"
	client  = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: atOnce,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
	}}
)

// post sends a form to Messages and returns the sid of the answer.
func post(ctx context.Context, form url.Values) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(account, "token")
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	var message struct {
		Sid string `json:"sid"`
	}
	if err := json.Unmarshal(body, &message); err != nil {
		return "", err
	}
	if message.Sid == "" {
		return "", fmt.Errorf("status %d and no sid", answer.StatusCode)
	}
	return message.Sid, nil
}

// measure counts what was sent; once all is, it prints the figures as the bench reads them and closes allDone.
type measure struct {
	allDone chan struct{}

	mu                  sync.Mutex
	count, warmUp, done int
	wall                time.Time
	cpu                 float64
}

func newMeasure(count int) *measure {
	return &measure{allDone: make(chan struct{}), count: count, warmUp: count / 10}
}

// oneMore counts a message that was answered.
func (m *measure) oneMore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	switch m.done {
	case m.warmUp:
		m.wall, m.cpu = time.Now(), cpuSeconds()
	case m.count:
		seconds, cpu := time.Since(m.wall).Seconds(), cpuSeconds()-m.cpu
		fmt.Printf("{\"messages\": %d, \"seconds\": %f, \"cpu_seconds\": %f}\n", m.count-m.warmUp, seconds, cpu)
		close(m.allDone)
	}
}

// cpuSeconds returns the user and system time of this process so far.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
