// Package copied does what go vet must warn of: it copies groups.
package copied

import "github.com/actorflight/singleflight"

func Copy(g *singleflight.Group, s *singleflight.Sharded) {
	second := *g
	second.Forget("key")
	other := *s
	other.Forget("key")
}
