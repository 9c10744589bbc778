// docs/reference/commands.md: what `parley` understands.
import { createProgram } from '../../dist/cli/program.js'
import { generatedNote } from './table.mjs'

export function commandsPage() {
  const program = createProgram()
  const sections = program.commands.map((command) => {
    command.configureHelp({ helpWidth: 110 })
    return `## parley ${command.name()}\n\n\`\`\`text\n${command.helpInformation().trim()}\n\`\`\`\n`
  })
  return `${generatedNote}\n# Commands\n\nExit codes: 0 done (for \`can\`: yes), 1 \`can\` says no or \`bench\` misses something, 2 bad input to a command, 75 another controller leads (start it again), 78 the configuration is at fault.\n\n${sections.join('\n')}`
}
