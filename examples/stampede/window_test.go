package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/examples/internal/program"
)

func TestWindowShowsWhatIsInFlight(t *testing.T) {
	w, address, err := openWindow("127.0.0.1:0")
	require.NoError(t, err)
	defer w.Close()
	started, gate, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	server := newServer(func(context.Context, int64) (*Sales, error) {
		close(started)
		<-gate
		return new(Sales), nil
	}, time.Hour, impatient(&w.impatient)[2].coalesce)
	request := httptest.NewRequest(http.MethodGet, "/products/17/sales", nil)
	request.RemoteAddr = "192.0.2.1:1234"
	go func() {
		server.handler().ServeHTTP(httptest.NewRecorder(), request)
		close(ended)
	}()
	<-started

	page := get(t, "http://"+address.String())
	assert.Contains(t, page, "impatient clients")
	assert.Contains(t, page, "17")
	assert.Contains(t, page, "192.0.2.1:1234")
	metrics := get(t, "http://"+address.String()+"/metrics")
	assert.Contains(t, metrics, `singleflight_in_flight{group="impatient clients"} 1`)
	assert.Contains(t, metrics, `singleflight_in_flight{group="patient clients"} 0`)
	close(gate)
	<-ended
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(response.Body)
	require.NoError(t, err)
	return body.String()
}

func TestRunWithWindow(t *testing.T) {
	temporary(t)
	o := small()
	o.http = "127.0.0.1:0"
	var stdout, stderr bytes.Buffer
	require.NoError(t, o.all(t.Context(), &stdout, &stderr))
	address := regexp.MustCompile(`http://(\S+)/\?refresh=1`).FindStringSubmatch(stderr.String())
	require.NotNil(t, address, stderr.String())
	_, err := net.Dial("tcp", address[1])
	assert.Error(t, err, "the window is closed at the end")
	assert.Contains(t, stdout.String(), "actorflight DoContext")
	assert.Contains(t, stdout.String(), "actorflight DoFresh")
}

func TestWindowAtAnAddressInUse(t *testing.T) {
	temporary(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var stdout, stderr bytes.Buffer
	exit := run(t.Context(), []string{"-http", listener.Addr().String()}, &stdout, &stderr)
	assert.Equal(t, program.Failed, exit)
	assert.Regexp(t, `^stampede: -http: .*in use\n$`, stderr.String())
	assert.Empty(t, stdout.String())
}
