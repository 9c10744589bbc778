// Starts the processes that lie beside this file.
import { fileURLToPath } from 'node:url'
import { Program, type ProgramOptions } from '../../test/support/child-process.js'

const folder = fileURLToPath(new URL('.', import.meta.url))

export function script(
  name: string,
  file: string,
  args: readonly (string | number)[] = [],
  options: ProgramOptions = {},
): Program {
  return new Program(name, [process.execPath, `${folder}${file}`, ...args.map(String)], options)
}

/** Of one that says where it listens. */
export function portOf(program: Program): Promise<number> {
  return program.saying('its port', (said) => {
    const port = /listening on (\d+)\n/.exec(said)?.[1]
    return port === undefined ? undefined : Number(port)
  })
}
