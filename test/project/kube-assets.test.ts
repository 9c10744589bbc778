// How scripts/kube-assets.mjs finds the API server of the tests. Downloads and builds take minutes and are
// not tested here.
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

async function writePrograms(target: string, names = ['etcd', 'kube-apiserver', 'kubectl']): Promise<string> {
  await mkdir(target, { recursive: true })
  for (const name of names) {
    await writeFile(join(target, name), '')
    await chmod(join(target, name), 0o755)
  }
  return target
}

test('the folder that KUBEBUILDER_ASSETS names has precedence', async () => {
  await writePrograms(join(folder, 'parley', 'kube-1.34'))
  const named = await writePrograms(join(folder, 'named'))
  vi.stubEnv('KUBEBUILDER_ASSETS', named)
  expect(await locateKubeAssets()).toBe(named)
  expect(await provideKubeAssets()).toBe('')
})

test('a named folder without the programs is reported as an error, without a fallback', async () => {
  await writePrograms(join(folder, 'parley', 'kube-1.34'))
  vi.stubEnv('KUBEBUILDER_ASSETS', join(folder, 'typo'))
  expect(await locateKubeAssets()).toBeUndefined()
  expect(await provideKubeAssets()).toMatch(
    /^KUBEBUILDER_ASSETS is .*typo, but that folder does not contain all of etcd/,
  )
})

test('the cache of this project has precedence over others, and incomplete folders are ignored', async () => {
  expect(await locateKubeAssets()).toBeUndefined()
  const others = await writePrograms(join(folder, 'kube-1.34.4'))
  await writePrograms(join(folder, 'parley', 'kube-1.34'), ['etcd', 'kubectl'])
  expect(await locateKubeAssets()).toBe(others)
  const own = await writePrograms(join(folder, 'parley', 'kube-1.34'))
  expect(await locateKubeAssets()).toBe(own)
})
