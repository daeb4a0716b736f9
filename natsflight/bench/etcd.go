package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/actorflight/singleflight"
)

const (
	// leaseTTL is the life of a process's lease, in seconds, without a renewal. It is the
	// least that etcd grants with its default election timeout.
	leaseTTL = 2
	// resultTTL is the life of a lease for results, in seconds. A process takes a new one
	// for the results of each second, so that results do not cost a lease each.
	resultTTL = 5
)

var errLeaseLost = errors.New("etcd: the lease was lost")

// An etcdPeer keeps natsflight's guarantees by etcd's leases and watches. A key's
// flight is an etcd key that is bound to the lease of its leader's process. The leader
// lands by a transaction that deletes the key and puts the result beside it, where the
// waiters' watches find it. If a key disappears without a result, its waiters begin anew.
//
// Every call asks etcd whether a flight is in progress after the call has begun, or joins a
// call of its process that does so. This is why the calls are closed to others, by Forget,
// before each step that would be too late for them.
type etcdPeer struct {
	client *clientv3.Client
	local  singleflight.GroupOf[string, []byte]

	mu      sync.Mutex // guards what follows
	own     *lease     // holds the flights that this process leads
	results clientv3.LeaseID
	since   time.Time // of results
}

// A lease is renewed until its context ends.
type lease struct {
	id     clientv3.LeaseID
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newEtcd(address string) (peer, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	e := &etcdPeer{client: client}
	ctx, cancel := context.WithTimeout(client.Ctx(), 5*time.Second)
	defer cancel()
	if _, _, err := e.leases(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return e, nil
}

// Close gives up the lease, and so the flights that this process leads.
func (e *etcdPeer) Close() {
	ctx, cancel := context.WithTimeout(e.client.Ctx(), time.Second)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.own.cancel(nil)
	_, _ = e.client.Revoke(ctx, e.own.id) // it runs out without that, too
	e.client.Close()
}

// leases returns the lease of the process and that of its results.
func (e *etcdPeer) leases(ctx context.Context) (own *lease, results clientv3.LeaseID, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.own == nil || e.own.ctx.Err() != nil {
		granted, err := e.client.Grant(ctx, leaseTTL)
		if err != nil {
			return nil, 0, fmt.Errorf("etcd: lease: %w", err)
		}
		l := &lease{id: granted.ID}
		l.ctx, l.cancel = context.WithCancelCause(e.client.Ctx())
		renewals, err := e.client.KeepAlive(l.ctx, l.id)
		if err != nil {
			return nil, 0, fmt.Errorf("etcd: lease: %w", err)
		}
		go func() {
			for range renewals {
			}
			l.cancel(errLeaseLost)
		}()
		e.own = l
	}
	if time.Since(e.since) > time.Second {
		now := time.Now()
		granted, err := e.client.Grant(ctx, resultTTL)
		if err != nil {
			return nil, 0, fmt.Errorf("etcd: lease of results: %w", err)
		}
		e.results, e.since = granted.ID, now
	}
	return e.own, e.results, nil
}

func (e *etcdPeer) Do(ctx context.Context, key string, fn function) ([]byte, error) {
	v, err, _ := e.local.DoContext(ctx, key, func(ctx context.Context) ([]byte, error) {
		hash := sha256.Sum256([]byte(key))
		c := etcdCall{etcdPeer: e, key: key, flight: "flight/" + hex.EncodeToString(hash[:]), fn: fn}
		c.id = strconv.FormatUint(rand.Uint64(), 36)
		for {
			if v, err, done := c.try(ctx); done {
				return v, err
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	})
	return v, err
}

// An etcdCall is a call that asks etcd, for its process.
type etcdCall struct {
	*etcdPeer
	key    string
	flight string // the key in etcd; with resultSuffix, that of the result
	id     string // the value of flight if this call leads
	fn     function
}

const resultSuffix = "/result"

// The first byte of a result.
const (
	ofValue = "v"
	ofError = "e"
)

// try leads a flight, or waits for the one in progress. If the flight ends without a
// result, the call is not done.
func (c *etcdCall) try(ctx context.Context) (v []byte, err error, done bool) {
	own, _, err := c.leases(ctx)
	if err != nil {
		return nil, err, true
	}
	// If the call leaves meanwhile, it must still learn whether it leads.
	lead, err := c.client.Txn(context.WithoutCancel(ctx)).
		If(clientv3.Compare(clientv3.CreateRevision(c.flight), "=", 0)).
		Then(clientv3.OpPut(c.flight, c.id, clientv3.WithLease(own.id))).
		Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		own.cancel(errLeaseLost)
		return nil, nil, false
	case err != nil:
		c.release()
		return nil, err, true
	case lead.Succeeded:
		return c.lead(ctx, own, uint64(lead.Header.Revision))
	}
	// If the flight is still in progress once no more calls can join this one, no call of
	// the fleet has returned its result before any of them began.
	c.local.Forget(c.key)
	found, err := c.client.Get(ctx, c.flight)
	switch {
	case err != nil:
		return nil, err, true
	case found.Count == 0:
		return nil, nil, false
	default:
		return c.wait(ctx, found.Header.Revision+1)
	}
}

// lead runs fn and lands.
func (c *etcdCall) lead(ctx context.Context, own *lease, token uint64) (v []byte, err error, done bool) {
	inside, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(own.ctx, func() { cancel(errLeaseLost) })()
	returned := false
	defer func() {
		if !returned {
			c.local.Forget(c.key)
			_, _ = c.land(context.WithoutCancel(ctx), ofError+"fn panicked or exited")
		}
	}()
	v, err = c.fn(inside, token)
	returned = true

	c.local.Forget(c.key) // from here on, the result may be returned elsewhere
	landing := ofValue + string(v)
	switch {
	case err != nil && ctx.Err() != nil: // an error of an abandoned fn is not shared
		c.release()
		return nil, err, true
	case err != nil:
		landing = ofError + err.Error()
	}
	landed, landingErr := c.land(context.WithoutCancel(ctx), landing)
	if landingErr != nil {
		c.release()
		return nil, landingErr, true
	}
	return v, err, landed
}

// land ends the flight with a result, if this call still leads it.
func (c *etcdCall) land(ctx context.Context, result string) (landed bool, err error) {
	_, results, err := c.leases(ctx)
	if err != nil {
		return false, err
	}
	landing, err := c.client.Txn(ctx).If(c.leads()).Then(
		clientv3.OpPut(c.flight+resultSuffix, result, clientv3.WithLease(results)),
		clientv3.OpDelete(c.flight),
	).Commit()
	return err == nil && landing.Succeeded, err
}

// release ends the flight without a result, if this call leads it. If etcd does not
// answer, the flight ends with the lease.
func (c *etcdCall) release() {
	ctx, cancel := context.WithTimeout(c.client.Ctx(), time.Second)
	defer cancel()
	_, _ = c.client.Txn(ctx).If(c.leads()).Then(clientv3.OpDelete(c.flight)).Commit()
}

func (c *etcdCall) leads() clientv3.Cmp { return clientv3.Compare(clientv3.Value(c.flight), "=", c.id) }

// wait waits for the result that is put at a revision or after it.
func (c *etcdCall) wait(ctx context.Context, revision int64) (v []byte, err error, done bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for changes := range c.client.Watch(ctx, c.flight, clientv3.WithPrefix(), clientv3.WithRev(revision)) {
		if err := changes.Err(); err != nil {
			return nil, err, true
		}
		gone := false
		for _, change := range changes.Events {
			switch {
			case change.Type == clientv3.EventTypeDelete:
				gone = gone || string(change.Kv.Key) == c.flight
			case string(change.Kv.Key) != c.flight:
				return decode(string(change.Kv.Value))
			}
		}
		if gone {
			return nil, nil, false
		}
	}
	return nil, context.Cause(ctx), true
}

func decode(result string) (v []byte, err error, done bool) {
	if text, failed := strings.CutPrefix(result, ofError); failed {
		return nil, errors.New(text), true
	}
	return []byte(strings.TrimPrefix(result, ofValue)), nil, true
}
