// Generates docs/reference/commands.md: the commands of `parley` with their options.
import { createProgram } from '../../dist/cli/program.js'
import { generatedNote } from './table.mjs'

export function commandsPage() {
  const program = createProgram()
  const sections = program.commands.map((command) => {
    command.configureHelp({ helpWidth: 110 })
    return `## parley ${command.name()}\n\n\`\`\`text\n${command.helpInformation().trim()}\n\`\`\`\n`
  })
  return `${generatedNote}\n# Commands\n\nExit codes: 0 success (for \`can\`: allowed); 1 \`can\` answers no, or \`bench\` misses messages; 2 invalid input\nto a command; 75 another controller became the leader, start the process again; 78 the configuration is invalid.\n\n${sections.join('\n')}`
}
