// The test set-up may install packages, and a package starts its service. What ran before belongs to the
// user.
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { meetNeeds } from '../../scripts/meet-needs.mjs'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-needs-'))
  vi.spyOn(console, 'log').mockReturnValue()
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** A program that is found only in `folder`, with the service that its package starts. */
const need = (name: string) => ({
  what: name,
  variable: 'PARLEY_NO_SUCH_VARIABLE',
  programs: [name],
  aptPackage: `${name}-package`,
  service: `${name}-service`,
})

/** A Debian whose packages put their programs into `folder`; records each command. */
function machine(options: { running?: string[]; isRoot?: boolean; installs?: boolean } = {}) {
  const commands: string[] = []
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`)
  const run = async (command: string, args: string[]) => {
    commands.push([command, ...args.filter((arg) => !arg.startsWith('-') && !arg.includes('='))].join(' '))
    if (command === 'service' && args[1] === 'status')
      return { ok: options.running?.includes(args[0] ?? '') ?? false, output: '', ms: 0 }
    if (command === 'apt-get' && args.includes('install') && options.installs !== false) {
      for (const name of args.filter((arg) => arg.endsWith('-package'))) {
        const program = join(folder, name.replace(/-package$/, ''))
        await writeFile(program, '')
        await chmod(program, 0o755)
      }
    }
    return { ok: true, output: '', ms: 0 }
  }
  return {
    commands,
    machine: { isRoot: options.isRoot ?? true, run, onPath: async () => '/usr/bin/apt-get' },
  }
}
afterEach(() => vi.unstubAllEnvs())

test('a service that the installation started is stopped and does not start at boot', async () => {
  const { commands, machine: debian } = machine()
  expect(await meetNeeds([need('server-a')], debian)).toBe('')
  expect(commands).toEqual([
    'service server-a-service status',
    'apt-get update',
    'apt-get install server-a-package',
    'service server-a-service stop',
    'update-rc.d server-a-service disable',
  ])
})

test('a service that was running before is neither stopped nor disabled', async () => {
  const { commands, machine: debian } = machine({ running: ['server-a-service'] })
  expect(await meetNeeds([need('server-a'), need('server-b')], debian)).toBe('')
  expect(commands.filter((command) => / (stop|disable)$/.test(command))).toEqual([
    'service server-b-service stop',
    'update-rc.d server-b-service disable',
  ])
})

test('nothing is asked and nothing is changed when every program is there', async () => {
  const { commands, machine: debian } = machine()
  await writeFile(join(folder, 'server-a'), '')
  await chmod(join(folder, 'server-a'), 0o755)
  expect(await meetNeeds([need('server-a')], debian)).toBe('')
  expect(commands).toEqual([])
})

test('without root nothing is installed, and one sentence says what is missing', async () => {
  const { commands, machine: debian } = machine({ isRoot: false })
  expect(await meetNeeds([need('server-a')], debian)).toBe(
    "The tests need server-a: install the package server-a-package, or set PARLEY_NO_SUCH_VARIABLE to the program's path.",
  )
  expect(commands).toEqual([])
})
