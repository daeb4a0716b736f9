package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.etcd.io/etcd/server/v3/embed"
)

// An engine is the nodes of NATS or etcd, in a process of their own, on loopback. It
// stores in a directory of its own.
type engine struct {
	process *process
	dir     string
	nodes   []string // their addresses
}

// startEngine starts an engine. sync makes JetStream sync each write to the disk.
func startEngine(ctx context.Context, name string, nodes int, sync bool) (*engine, error) {
	dir, err := os.MkdirTemp("", "natsflight-bench-")
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, "engine", name, strconv.Itoa(nodes), strconv.FormatBool(sync), dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &engine{p, dir, strings.Split(p.line, ",")}, nil
}

// stop ends the engine at once: what it stores is of no further use.
func (e *engine) stop() {
	e.process.kill()
	e.process.stop()
	_ = os.RemoveAll(e.dir)
}

// serve is the role of an engine's process. It prints the addresses of the nodes, which
// end with the process.
func serve(ctx context.Context, args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var addresses []string
	switch name, dir := args[0], args[3]; name {
	case nameOfEtcd:
		addresses, err = serveEtcd(ctx, n, dir)
	case nameOfNats:
		addresses, err = serveNats(ctx, n, args[2] == "true", dir)
	default:
		err = fmt.Errorf("no engine has the name %q", name)
	}
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, ","))
	<-ctx.Done()
	return nil
}

func serveNats(ctx context.Context, n int, sync bool, dir string) (addresses []string, err error) {
	ports, err := freePorts(n)
	if err != nil {
		return nil, err
	}
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: p.String()})
	}
	var servers []*server.Server
	for i, p := range ports {
		o := &server.Options{
			ServerName: fmt.Sprintf("node%d", i), Host: p.IP.String(), Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, strconv.Itoa(i)), SyncAlways: sync,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "bench", Host: p.IP.String(), Port: p.Port}
			o.Routes = routes
		}
		s, err := server.NewServer(o)
		if err != nil {
			return nil, fmt.Errorf("nats: %w", err)
		}
		go s.Start()
		servers = append(servers, s)
	}
	for _, s := range servers {
		for !s.ReadyForConnections(time.Second) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		addresses = append(addresses, s.ClientURL())
	}
	// One of them leads, and knows all.
	hasAll := func(s *server.Server) bool { return len(s.JetStreamClusterPeers()) == n }
	for n > 1 && !slices.ContainsFunc(servers, hasAll) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return addresses, nil
}

func serveEtcd(ctx context.Context, n int, dir string) (addresses []string, err error) {
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	var urls []url.URL // n for peers, then n for clients
	var cluster []string
	for i, p := range ports {
		urls = append(urls, url.URL{Scheme: "http", Host: p.String()})
		if i < n {
			cluster = append(cluster, fmt.Sprintf("node%d=%s", i, &urls[i]))
		}
	}
	var members []*embed.Etcd
	for i := range n {
		c := embed.NewConfig()
		c.Name, c.Dir, c.LogLevel = fmt.Sprintf("node%d", i), filepath.Join(dir, strconv.Itoa(i)), "fatal"
		c.ListenPeerUrls = urls[i : i+1]
		c.AdvertisePeerUrls = c.ListenPeerUrls
		c.ListenClientUrls = urls[n+i : n+i+1]
		c.AdvertiseClientUrls = c.ListenClientUrls
		c.InitialCluster = strings.Join(cluster, ",")
		m, err := embed.StartEtcd(c)
		if err != nil {
			return nil, fmt.Errorf("etcd: %w", err)
		}
		members = append(members, m)
		addresses = append(addresses, urls[n+i].String())
	}
	for _, m := range members {
		select {
		case <-m.Server.ReadyNotify():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return addresses, nil
}

// freePorts returns n ports of loopback on which no process listens.
func freePorts(n int) ([]*net.TCPAddr, error) {
	var ports []*net.TCPAddr
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after the last one, so that no port comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr))
	}
	return ports, nil
}
