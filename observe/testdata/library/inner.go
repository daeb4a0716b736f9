package observe

import "github.com/actorflight/singleflight"

// Inner returns the library's group.
func (g *GroupOf[K, V]) Inner() *singleflight.GroupOf[K, V] { return &g.group }
