package main

import (
	"errors"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/actorflight/singleflight/bench/peer"
)

// draw draws the ratios of times to x/sync's to an SVG file: a column for each
// workload, a mark in it for each peer, and x/sync as the line at 1. The columns are
// in two panels, with the legend beside them.
func (r report) draw(file string) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	rows := slices.DeleteFunc(r.rowsBeside(peer.Baseline), func(row row) bool { return !row.Unit.IsTime() })
	if len(rows) == 0 {
		return errors.New("-svg: no workload that measures a time beside x/sync's")
	}
	highest := 1.0
	for _, row := range rows {
		for _, e := range row.Entries {
			highest = max(highest, e.Ratio.Median)
		}
	}
	var panels [][]*plot.Plot
	var legend plot.Legend
	for half := range slices.Chunk(rows, (len(rows)+1)/2) {
		p, l, err := r.panel(half, highest)
		if err != nil {
			return err
		}
		panels, legend = append(panels, []*plot.Plot{p}), l
	}

	// A title, because gonum/plot misplaces the label of a logarithmic axis.
	panels[0][0].Title.Text = "Time, in multiples of x/sync's (lower is better)"

	canvas := vgsvg.New(width, height)
	all := draw.Crop(draw.New(canvas), vg.Points(6), 0, vg.Points(6), -vg.Points(6))
	marks := draw.Crop(all, 0, -legendWidth, 0, 0)
	for i, row := range plot.Align(panels, draw.Tiles{Rows: len(panels), Cols: 1, PadY: vg.Points(12)}, marks) {
		panels[i][0].Draw(row[0])
	}
	legend.Draw(draw.Crop(all, width-legendWidth+vg.Points(6), 0, 0, 0))
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(out)
	return errors.Join(err, out.Close())
}

const (
	width       = 28 * vg.Centimeter
	height      = 16 * vg.Centimeter
	legendWidth = 4.9 * vg.Centimeter

	spaced = 0.92 // how much of a column its marks take
)

// panel draws some of the rows. All panels have the same range and legend.
func (r report) panel(rows []row, highest float64) (*plot.Plot, plot.Legend, error) {
	p := plot.New()
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.TickerFunc(ratioTicks)
	var names []string
	for _, row := range rows {
		names = append(names, strings.Replace(row.Name, " ", "\n", 1))
	}
	p.NominalX(names...)
	p.X.Tick.Label.Font.Size = vg.Points(10)
	p.Y.Padding = 0

	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{220}
	line, err := plotter.NewLine(plotter.XYs{{X: -0.5, Y: 1}, {X: float64(len(rows)) - 0.5, Y: 1}})
	if err != nil {
		return nil, plot.Legend{}, err
	}
	line.Width = vg.Points(1.5)
	p.Add(grid, line)

	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.Padding = vg.Points(3)
	legend.TextStyle.Font.Size = vg.Points(10)
	legend.Add(peer.Baseline, line)
	others := r.others(peer.Baseline, r.rowsBeside(peer.Baseline)) // the same in all panels
	for i, name := range others {
		var marks plotter.XYs
		for x, row := range rows {
			if e := row.Entries[name]; e.Ratio.Median > 0 {
				// Side by side, so that none covers another.
				offset := (float64(i)+0.5)/float64(len(others)) - 0.5
				marks = append(marks, plotter.XY{X: float64(x) + spaced*offset, Y: max(e.Ratio.Median, least)})
			}
		}
		s := &plotter.Scatter{XYs: marks, GlyphStyle: glyph(i, strings.HasPrefix(name, peer.Own))}
		if len(marks) > 0 {
			p.Add(s)
		}
		legend.Add(name, s)
	}
	p.X.Min, p.X.Max = -0.5, float64(len(rows))-0.5
	p.Y.Min, p.Y.Max = least/1.2, highest*1.2
	return p, legend, nil
}

// least is the least ratio that the chart tells from smaller ones.
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
	style := draw.GlyphStyle{Radius: vg.Points(2.8), Shape: plotutil.Shape(i), Color: plotutil.DarkColors[i%len(plotutil.DarkColors)]}
	if own {
		style.Radius, style.Shape = vg.Points(3.6), draw.CircleGlyph{}
	}
	return style
}
