package peer

import (
	"hash/maphash"

	"golang.org/x/sync/singleflight"
)

type xSync struct{ g singleflight.Group }

func newXSync() Group { return new(xSync) }

func (p *xSync) Do(key string, fn func() (any, error)) (any, error) {
	v, err, _ := p.g.Do(key, fn)
	return v, err
}

func (p *xSync) DoChan(key string, fn func() (any, error)) (any, error) {
	r := <-p.g.DoChan(key, fn)
	return r.Val, r.Err
}

// xSyncSharded is the usual remedy for a contended lock.
type xSyncSharded struct {
	seed   maphash.Seed
	shards [64]xSync
}

func newXSyncSharded() Group { return &xSyncSharded{seed: maphash.MakeSeed()} }

func (p *xSyncSharded) shard(key string) *xSync {
	return &p.shards[maphash.String(p.seed, key)%uint64(len(p.shards))]
}

func (p *xSyncSharded) Do(key string, fn func() (any, error)) (any, error) {
	return p.shard(key).Do(key, fn)
}

func (p *xSyncSharded) DoChan(key string, fn func() (any, error)) (any, error) {
	return p.shard(key).DoChan(key, fn)
}
