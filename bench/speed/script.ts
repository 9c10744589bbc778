// Starts the scripts of this folder as processes.
import { fileURLToPath } from 'node:url'
import { Program, type ProgramOptions } from '../../test/support/child-process.js'

const folder = fileURLToPath(new URL('.', import.meta.url))

export function startScript(
  name: string,
  file: string,
  args: readonly (string | number)[] = [],
  options: ProgramOptions = {},
): Program {
  return new Program(name, [process.execPath, `${folder}${file}`, ...args.map(String)], options)
}

/** Returns the port that the program prints when it listens. */
export function portOf(program: Program): Promise<number> {
  return program.waitForOutput('its port', (output) => {
    const port = /listening on (\d+)\n/.exec(output)?.[1]
    return port === undefined ? undefined : Number(port)
  })
}
