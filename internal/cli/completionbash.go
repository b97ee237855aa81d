package cli

import (
	"regexp"
	"strings"
)

// bashCompletion is the script for bash. It needs nothing but bash itself, where
// cobra's own needs the package bash-completion; and it takes a word with "@",
// "=" or ":" in it as one word, which bash does not.
func bashCompletion(program string) string {
	function := "_" + regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(program, "_") + "_complete"
	return strings.NewReplacer("PROGRAM", program, "FUNCTION", function).Replace(bashScript)
}

const bashScript = `# bash completion for PROGRAM; source it. Nothing but bash is needed.
FUNCTION() {
    local line=${COMP_LINE:0:COMP_POINT} cur='' value found text directive
    local -a words=()
    COMPREPLY=()
    read -ra words <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        cur=${words[${#words[@]}-1]}
        unset "words[${#words[@]}-1]"
    fi
    # The program says what may follow, a line each, and then :DIRECTIVE.
    found=$("${1/#\~/$HOME}" __completeNoDesc "${words[@]:1}" "$cur" 2>/dev/null) || return
    directive=${found##*:}
    value=$cur
    [[ $value == --*=* ]] && value=${value#*=}
    # bash replaces what is behind the last of its own word breaks only, an @
    # with what is behind it.
    local tail=$value sep
    for sep in = :; do
        [[ $COMP_WORDBREAKS == *"$sep"* ]] && tail=${tail##*"$sep"}
    done
    [[ $COMP_WORDBREAKS == *@* && $tail == *@* ]] && tail=@${tail##*@}
    local before=${value%"$tail"}
    if ((directive & 16)); then # directories
        compopt -o filenames 2>/dev/null
        while IFS= read -r text; do
            COMPREPLY+=("${text#"$before"}")
        done < <(compgen -d -- "$value")
        return
    fi
    while IFS= read -r text; do
        [[ $text && $text == "$value"* ]] && COMPREPLY+=("${text#"$before"}")
    done <<<"${found%:*}"
    ((directive & 2)) && compopt -o nospace 2>/dev/null
    ((directive & 4)) || ((${#COMPREPLY[@]})) || compopt -o default 2>/dev/null
}
complete -F FUNCTION PROGRAM
`
