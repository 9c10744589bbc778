// `parley crds` as a process.
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const parley = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['dist/cli/main.js', 'crds', ...args], { cwd: root })

const committed = join(root, 'manifests/crds')
const read = async (folder: string): Promise<Record<string, string>> =>
  Object.fromEntries(
    await Promise.all(
      (await readdir(folder)).map(
        async (name) => [name, await readFile(join(folder, name), 'utf8')] as const,
      ),
    ),
  )

test('prints all definitions as one stream of YAML', async () => {
  const { stdout } = await parley()
  expect(stdout.split('---\n').toSorted()).toEqual(Object.values(await read(committed)).toSorted())
})

test('writes one file per definition', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'parley-crds-'))
  try {
    await parley('--output', join(folder, 'new'))
    expect(await read(join(folder, 'new'))).toEqual(await read(committed))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('prints why it cannot write', async () => {
  await expect(parley('--output', join(root, 'package.json'))).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error: cannot write to .*package\.json: /),
  })
})
