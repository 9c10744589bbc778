// Where the tests' API server comes from. Fetching and building take minutes; what is promised here costs nothing.
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { locateKubeAssets, provideKubeAssets } from '../../scripts/kube-assets.mjs'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'parley-assets-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
  vi.stubEnv('KUBEBUILDER_ASSETS', '')
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

async function putPrograms(at: string, names = ['etcd', 'kube-apiserver', 'kubectl']): Promise<string> {
  await mkdir(at, { recursive: true })
  for (const name of names) {
    await writeFile(join(at, name), '')
    await chmod(join(at, name), 0o755)
  }
  return at
}

test('the folder that KUBEBUILDER_ASSETS names goes before all others', async () => {
  await putPrograms(join(folder, 'parley', 'kube-1.34'))
  const named = await putPrograms(join(folder, 'named'))
  vi.stubEnv('KUBEBUILDER_ASSETS', named)
  expect(await locateKubeAssets()).toBe(named)
  expect(await provideKubeAssets()).toBe('')
})

test('a named folder without the programs is a mistake to report, not to work around', async () => {
  await putPrograms(join(folder, 'parley', 'kube-1.34'))
  vi.stubEnv('KUBEBUILDER_ASSETS', join(folder, 'typo'))
  expect(await locateKubeAssets()).toBeUndefined()
  expect(await provideKubeAssets()).toMatch(
    /^KUBEBUILDER_ASSETS is .*typo, and that folder has not all of etcd/,
  )
})

test('the cache of this project goes before that of others, and half a folder is none', async () => {
  expect(await locateKubeAssets()).toBeUndefined()
  const others = await putPrograms(join(folder, 'kube-1.34.4'))
  await putPrograms(join(folder, 'parley', 'kube-1.34'), ['etcd', 'kubectl'])
  expect(await locateKubeAssets()).toBe(others)
  const own = await putPrograms(join(folder, 'parley', 'kube-1.34'))
  expect(await locateKubeAssets()).toBe(own)
})
