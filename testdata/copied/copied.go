// Package copied does what go vet must warn of: it copies a Group.
package copied

import "github.com/actorflight/singleflight"

func Copy(g *singleflight.Group) {
	second := *g
	second.Forget("key")
}
