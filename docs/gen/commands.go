package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// commandDir is where the pages of the commands are in the manual.
const commandDir = "commands"

// commandPages writes a page for each command of the program, one that lists
// them, and the same list for the man page.
func commandPages(root *cobra.Command) map[string]string {
	pages := map[string]string{}
	var index, short strings.Builder
	index.WriteString(notice + ".. _commands:\n\n")
	heading(&index, "Command reference", "=")
	prose(&index, root.Long)
	index.WriteString(".. list-table::\n   :header-rows: 1\n   :widths: 25 75\n\n   * - Command\n     - What it is for\n")
	short.WriteString(notice)
	var files []string
	for _, c := range documented(root) {
		fmt.Fprintf(&index, "   * - :ref:`%s <%s>`\n     - %s\n", c.Name(), pageName(c), escape(c.Short))
		for _, leaf := range leaves(c) {
			fmt.Fprintf(&short, "``%s``\n   %s\n\n", strings.TrimPrefix(useLine(leaf), root.Name()+" "), escape(sentence(leaf.Short)))
		}
		for _, cmd := range family(c) {
			pages[commandDir+"/"+pageName(cmd)+".rst"] = commandPage(cmd)
			files = append(files, "   "+pageName(cmd))
		}
	}
	index.WriteString("\n.. _global-flags:\n\n")
	heading(&index, "Flags of every command", "-")
	fmt.Fprintf(&index, ".. program:: %s\n\n", root.Name())
	options(&index, root.PersistentFlags())
	index.WriteString(".. toctree::\n   :hidden:\n\n" + strings.Join(files, "\n") + "\n")
	pages[commandDir+"/index.rst"] = tidy(&index)
	pages[commandDir+"/commands.inc"] = tidy(&short)

	var flags strings.Builder
	flags.WriteString(notice)
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		usage, forms := describe(f)
		fmt.Fprintf(&flags, "%s\n   %s\n\n", "``"+strings.Join(forms, "``, ``")+"``", usage)
	})
	pages[commandDir+"/flags.inc"] = tidy(&flags)
	return pages
}

// documented lists the commands below cmd that people type: in the order of the
// groups that its help has, and of their names within each.
func documented(cmd *cobra.Command) []*cobra.Command {
	groups := []string{""}
	for _, g := range cmd.Groups() {
		groups = append(groups, g.ID)
	}
	var shown []*cobra.Command
	for _, id := range groups {
		for _, c := range cmd.Commands() {
			if c.GroupID == id && c.IsAvailableCommand() && c.Name() != "help" {
				shown = append(shown, c)
			}
		}
	}
	return shown
}

// leaves lists cmd, or what is below it when it is only a name for others.
func leaves(cmd *cobra.Command) []*cobra.Command {
	below := documented(cmd)
	if len(below) == 0 {
		return []*cobra.Command{cmd}
	}
	var all []*cobra.Command
	for _, c := range below {
		all = append(all, leaves(c)...)
	}
	return all
}

// family is a command with all that are below it.
func family(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range documented(cmd) {
		all = append(all, family(c)...)
	}
	return all
}

// pageName is a command's file and its label, as cobra's writer has it.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "_") }

// commandPage is what cobra writes of a command. Of its help, what is indented is
// shown as it is.
func commandPage(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString(notice)
	long := cmd.Long
	defer func() { cmd.Long = long }()
	paragraphs := strings.Split(long, "\n\n")
	for i, par := range paragraphs {
		if strings.HasPrefix(par, "  ") {
			var shown strings.Builder
			literal(&shown, "text", par)
			paragraphs[i] = strings.TrimRight(shown.String(), "\n")
		}
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	// A strings.Builder takes everything.
	_ = doc.GenReSTCustom(cmd, &b, func(name, ref string) string {
		if ref == cmd.Root().Name() { // its page is the list of all
			ref = "commands"
		}
		return fmt.Sprintf(":ref:`%s <%s>`", name, ref)
	})
	return tidy(&b)
}

// useLine is a command's usage without cobra's "[flags]" where flags are named.
func useLine(cmd *cobra.Command) string {
	line := cmd.UseLine()
	if !hasVisible(cmd.NonInheritedFlags()) || strings.Contains(cmd.Use, " --") {
		line = strings.TrimSuffix(line, " [flags]")
	}
	return line
}

func hasVisible(flags *pflag.FlagSet) bool {
	found := false
	flags.VisitAll(func(f *pflag.Flag) { found = found || visible(f) })
	return found
}

// visible leaves out the flag that cobra adds to every command.
func visible(f *pflag.Flag) bool { return !f.Hidden && f.Name != "help" }

func options(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !visible(f) {
			return
		}
		usage, forms := describe(f)
		fmt.Fprintf(b, ".. option:: %s\n\n   %s\n\n", strings.Join(forms, ", "), usage)
	})
}

// describe gives a flag's text, and how it is written, short and long.
func describe(f *pflag.Flag) (usage string, forms []string) {
	value, usage := pflag.UnquoteUsage(f)
	usage = sentence(escape(usage))
	switch f.DefValue {
	case "", "false", "[]": // a zero value says nothing
	default:
		usage += fmt.Sprintf(" The default is ``%s``.", f.DefValue)
	}
	if value != "" {
		value = " " + value
	}
	if f.Shorthand != "" {
		forms = append(forms, "-"+f.Shorthand+value)
	}
	return usage, append(forms, "--"+f.Name+value)
}

func tidy(b *strings.Builder) string { return strings.TrimRight(b.String(), "\n") + "\n" }
