/** `edge ctl completion`: scripts that let shells complete verbs, types, names and flags. */
import { UsageError } from '../../lib/errors.ts';
import { createVerb } from './verb.ts';

const VERBS =
  'get watch describe apply create replace delete patch edit label annotate explain api-resources wait status services top trace port-forward nodes ssh exec cp ssh-proxy inject backup restore certs join-token join auth completion version';
/** Verbs that take a type and names. */
const ON_OBJECTS = 'get watch describe delete patch edit label annotate explain wait';
/** What top is about. */
const TOPS = 'routers services clients';
const TYPES = 'routers nodemaintenances all';
const FLAGS =
  '--output --selector --field-selector --watch --filename --kubeconfig --context --server --data-dir --request-timeout --help';

/** Prints the names of nodes; quiet and quick where there is no API server. */
const NODES =
  "edge ctl get nodemaintenances -o jsonpath='{.items[*].spec.nodeName}' --request-timeout=2s 2>/dev/null";

const BASH = `# bash completion of "edge ctl": source <(edge ctl completion bash)
_edge_ctl() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words=() word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do [[ $word == -* ]] || words+=("$word"); done
  if [[ \${words[0]} != ctl ]]; then
    COMPREPLY=($(compgen -W "apiserver router syncer sidecar ctl" -- "$cur"))
    return
  fi
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "${FLAGS}" -- "$cur"))
  elif (( \${#words[@]} == 1 )); then
    COMPREPLY=($(compgen -W "${VERBS}" -- "$cur"))
  elif [[ \${words[1]} == completion ]]; then
    COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur"))
  elif [[ \${words[1]} =~ ^(${ON_OBJECTS.replaceAll(' ', '|')})$ ]]; then
    if (( \${#words[@]} == 2 )); then
      COMPREPLY=($(compgen -W "${TYPES}" -- "$cur"))
    else
      COMPREPLY=($(compgen -W "$(edge ctl get "\${words[2]}" -o name --request-timeout=2s 2>/dev/null | sed 's|.*/||')" -- "$cur"))
    fi
  elif [[ \${words[1]} == top ]]; then
    COMPREPLY=($(compgen -W "${TOPS}" -- "$cur"))
  elif [[ \${words[1]} =~ ^(ssh|ssh-proxy|exec)$ ]]; then
    COMPREPLY=($(compgen -W "$(${NODES})" -- "$cur"))
  elif [[ \${words[1]} == cp ]]; then
    COMPREPLY=($(compgen -f -- "$cur") $(compgen -W "$(${NODES})" -S : -- "$cur"))
    [[ \${COMPREPLY[*]} == *: ]] && compopt -o nospace
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
complete -F _edge_ctl edge
`;

const ZSH = `#compdef edge
# zsh completion of "edge ctl": source <(edge ctl completion zsh)
_edge_ctl() {
  local -a plain
  plain=(\${\${words[2,CURRENT-1]}:#-*})
  if [[ \${plain[1]} != ctl ]]; then
    compadd apiserver router syncer sidecar ctl
  elif [[ $PREFIX == -* ]]; then
    compadd -- ${FLAGS}
  elif (( \${#plain} == 1 )); then
    compadd ${VERBS}
  elif [[ \${plain[2]} == completion ]]; then
    compadd bash zsh fish
  elif [[ \${plain[2]} == (${ON_OBJECTS.replaceAll(' ', '|')}) ]]; then
    if (( \${#plain} == 2 )); then
      compadd ${TYPES}
    else
      compadd $(edge ctl get "\${plain[3]}" -o name --request-timeout=2s 2>/dev/null | sed 's|.*/||')
    fi
  elif [[ \${plain[2]} == top ]]; then
    compadd ${TOPS}
  elif [[ \${plain[2]} == (ssh|ssh-proxy|exec) ]]; then
    compadd $(${NODES})
  elif [[ \${plain[2]} == cp ]]; then
    compadd -S : $(${NODES})
    _files
  else
    _files
  fi
}
compdef _edge_ctl edge
`;

const FISH = `# fish completion of "edge ctl": edge ctl completion fish | source
function __edge_ctl_words
  commandline -opc | string match -v -- '-*'
end
function __edge_ctl_at -a count
  set -l words (__edge_ctl_words)
  test (count $words) -eq $count; and test "$words[2]" = ctl
end
function __edge_ctl_names
  set -l words (__edge_ctl_words)
  test (count $words) -ge 4; and contains -- $words[3] ${ON_OBJECTS}
  and edge ctl get $words[4] -o name --request-timeout=2s 2>/dev/null | string replace -r '.*/' ''
end
complete -c edge -f -n 'test (count (__edge_ctl_words)) -eq 1' -a 'apiserver router syncer sidecar ctl'
complete -c edge -f -n '__edge_ctl_at 2' -a '${VERBS}'
complete -c edge -f -n '__edge_ctl_at 3; and contains -- (__edge_ctl_words)[3] ${ON_OBJECTS}' -a '${TYPES}'
complete -c edge -f -n '__edge_ctl_at 3; and test (__edge_ctl_words)[3] = top' -a '${TOPS}'
complete -c edge -f -n '__edge_ctl_at 3; and test (__edge_ctl_words)[3] = completion' -a 'bash zsh fish'
complete -c edge -f -a '(__edge_ctl_names)'
function __edge_ctl_verb
  set -l words (__edge_ctl_words)
  test (count $words) -ge 3; and contains -- $words[3] $argv
end
function __edge_ctl_nodes
  ${NODES} | string split ' '
end
complete -c edge -f -n '__edge_ctl_verb ssh ssh-proxy exec' -a '(__edge_ctl_nodes)'
complete -c edge -F -n '__edge_ctl_verb cp' -a '(__edge_ctl_nodes):'
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

/** Runs the verb. */
export function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'completion (bash | zsh | fish)',
    'Print the completion script of a shell.',
  ).argument('<SHELL>');
  command.parse([...argv], { from: 'user' });
  const shell = command.args[0] ?? '';
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined)
    return Promise.reject(new UsageError(`unsupported shell type "${shell}"`, { hint: 'bash, zsh or fish' }));
  process.stdout.write(script);
  return Promise.resolve();
}
