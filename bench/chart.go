package main

import (
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/actorflight/singleflight/bench/peer"
)

// draw draws the ratios of times to an SVG file: a column for each workload, a
// mark in it for each peer, and x/sync as the line at 1.
func (r report) draw(file string) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Y.Label.Text = "time, in multiples of x/sync's (lower is better)"
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.TickerFunc(ratioTicks)
	p.Y.Min = least
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(3)
	p.Legend.TextStyle.Font.Size = vg.Points(10)

	rows := slices.DeleteFunc(slices.Clone(r.Rows), func(row row) bool { return !row.Unit.IsTime() })
	var names []string
	for _, row := range rows {
		names = append(names, row.Workload)
	}
	p.NominalX(names...)

	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{220}
	line, err := plotter.NewLine(plotter.XYs{{X: -0.5, Y: 1}, {X: float64(len(rows)) - 0.5, Y: 1}})
	if err != nil {
		return err
	}
	line.Width = vg.Points(1.5)
	p.Add(grid, line)
	p.Legend.Add(peer.Baseline, line)

	for i, name := range r.Peers {
		if name == peer.Baseline {
			continue
		}
		var marks plotter.XYs
		for x, row := range rows {
			if e := row.Entries[name]; e.Ratio > 0 {
				// Side by side, so that none hides another.
				offset := (float64(i)+0.5)/float64(len(r.Peers)) - 0.5
				marks = append(marks, plotter.XY{X: float64(x) + 0.8*offset, Y: max(e.Ratio, least)})
			}
		}
		if len(marks) == 0 {
			continue
		}
		s, err := plotter.NewScatter(marks)
		if err != nil {
			return err
		}
		s.GlyphStyle = glyph(i, strings.HasPrefix(name, peer.Own))
		p.Add(s)
		p.Legend.Add(name, s)
	}
	p.X.Min, p.X.Max = -0.5, float64(len(rows))+1.8 // room for the legend
	return p.Save(26*vg.Centimeter, 12*vg.Centimeter, file)
}

// least is the least ratio that has a place of its own.
const least = 0.05

// ratioTicks labels 0.1, 0.2, 0.5, 1, 2, 5 and so on.
func ratioTicks(low, high float64) (ticks []plot.Tick) {
	for decade := math.Pow(10, math.Floor(math.Log10(low))); decade <= high; decade *= 10 {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * decade; v >= low && v <= high {
				label := strconv.FormatFloat(v, 'g', 3, 64)
				if v == least {
					label = "≤ " + label
				}
				ticks = append(ticks, plot.Tick{Value: v, Label: label})
			}
		}
	}
	return ticks
}

// glyph sets this library's marks apart from its peers'.
func glyph(i int, own bool) draw.GlyphStyle {
	style := draw.GlyphStyle{Radius: vg.Points(3), Shape: plotutil.Shape(i), Color: plotutil.DarkColors[i%len(plotutil.DarkColors)]}
	if own {
		style.Radius, style.Shape = vg.Points(5), draw.CircleGlyph{}
	}
	return style
}
