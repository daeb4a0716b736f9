package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/actorflight/singleflight/examples/internal/program"
)

// processes is the size of the fleet.
const processes = 4

// run runs the rounds, on a NATS server of its own unless o names one. It returns the
// outcomes of those that have ended: all of them, if there is no error.
func (o options) run(ctx context.Context, stderr io.Writer) (outcomes []outcome, err error) {
	if o.nats == "" {
		dir, err := os.MkdirTemp("", "fleet")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		s, err := embed(dir)
		if err != nil {
			return nil, err
		}
		defer func() {
			s.Shutdown()
			s.WaitForShutdown()
		}()
		o.nats = s.ClientURL()
	}
	connection, err := nats.Connect(o.nats)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.nats, err)
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{alone, perProcess, fleetwide} {
		outcome, err := o.round(ctx, js, name, stderr)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes, nil
}

// embed starts a NATS server on loopback, with its files in dir.
func embed(dir string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("the embedded NATS server does not start")
	}
	return s, nil
}

// round puts the load on a new fleet with a new database.
func (o options) round(ctx context.Context, js jetstream.JetStream, name string, stderr io.Writer) (result outcome, err error) {
	id := "fleet_" + rand.Text()
	_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: id, Storage: jetstream.MemoryStorage})
	if err != nil {
		return result, fmt.Errorf("making the shared cache: %w", err)
	}
	defer func() { err = errors.Join(err, remove(js, id)) }()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return result, err
	}
	db := newDatabase(o.ttl)
	dbServer := http.Server{Handler: db.handler()}
	defer dbServer.Close()
	go dbServer.Serve(listener)

	var fleet []*child
	defer func() { err = errors.Join(err, stop(fleet)) }()
	for i := range processes {
		c, err := start(spec{i + 1, name, "http://" + listener.Addr().String(), o.nats, id})
		if err != nil {
			return result, err
		}
		fleet = append(fleet, c)
	}
	var urls []string
	for _, c := range fleet {
		url, err := c.url()
		if err != nil {
			return result, err
		}
		urls = append(urls, url)
	}

	if name == fleetwide && o.kill {
		defer time.AfterFunc(o.duration/2, func() {
			db.killNext(func(process int) { fleet[process-1].kill() })
		}).Stop()
	}
	var latencies []time.Duration
	var failures int
	program.During(stderr, o.duration, name, func() { latencies, failures = o.put(ctx, urls) })
	return newOutcome(name, latencies, failures, db), nil
}

// remove removes what a round has made on the NATS server.
func remove(js jetstream.JetStream, id string) error {
	// It must be done in spite of Ctrl-C.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := js.DeleteStream(ctx, id)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // this round was without natsflight
		err = nil
	}
	return errors.Join(err, js.DeleteKeyValue(ctx, id))
}
