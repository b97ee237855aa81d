package cli

import "example.org/conc/internal/ui"

// printJSON writes one value as a line of JSON that is safe on a terminal.
func (p *program) printJSON(v any) error {
	line, err := ui.JSON(v)
	if err != nil {
		return err
	}
	_, err = p.streams.Out.Write(line)
	return err
}

// toType is a command as it is to be typed in order to mean the same file and
// values as this one.
func (p *program) toType(args ...string) string {
	return quote(append(append([]string{p.name()}, p.flags.again()...), args...)...)
}

// width is that of the terminal that results go to; 0: they go elsewhere.
func (p *program) width() int {
	if ui.Terminal(p.streams.Out) {
		return ui.Width(p.streams.Out)
	}
	return 0
}
