// Builds dist/: the program with tsc, the chat page with esbuild. Does nothing if dist is newer than all
// sources.
import { chmod, cp, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { build as bundle } from 'esbuild'
import { root, run } from './run.mjs'

const dist = join(root, 'dist')
const sources = [
  'src',
  'scripts',
  'tsconfig.json',
  'tsconfig.build.json',
  'package.json',
  'package-lock.json',
]

/** Includes the times of folders, because only they show that a file was deleted or renamed. */
async function newestChangeMs() {
  const paths = await Promise.all(
    sources.map(async (source) => {
      const inFolder = await readdir(join(root, source), { recursive: true }).catch(() => [])
      return [source, ...inFolder.map((name) => join(source, name))]
    }),
  )
  // A file that disappeared meanwhile counts as changed now.
  const changedMs = (/** @type {string} */ path) =>
    stat(join(root, path)).then(
      ({ mtimeMs }) => mtimeMs,
      () => Infinity,
    )
  return Math.max(...(await Promise.all(paths.flat().map(changedMs))))
}

async function isUpToDate() {
  const built = await stat(dist).catch(() => undefined)
  return built !== undefined && built.mtimeMs > (await newestChangeMs())
}

/** @param {string} out */
async function compile(out) {
  const { ok, output } = await run('tsc', ['-p', 'tsconfig.build.json', '--outDir', out])
  if (!ok) throw new Error(output)
  await chmod(join(out, 'cli/main.js'), 0o755)
}

/** @param {string} out */
async function buildPage(out) {
  const web = join(root, 'src/web')
  await Promise.all([
    bundle({
      entryPoints: [join(web, 'page.ts')],
      outfile: join(out, 'page.js'),
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      logLevel: 'silent',
    }),
    cp(web, out, {
      recursive: true,
      filter: (path) => ['', '.html', '.css', '.svg'].includes(extname(path)),
    }),
  ])
}

async function build() {
  const startedAt = new Date()
  // The build goes to a temporary folder that then replaces dist, so that no process sees an incomplete dist.
  const next = await mkdtemp(join(root, '.dist-'))
  try {
    const parts = await Promise.allSettled([compile(next), buildPage(join(next, 'web'))])
    const failures = parts.flatMap((part) => (part.status === 'rejected' ? [part.reason] : []))
    if (failures.length > 0)
      throw new AggregateError(failures, failures.map((failure) => failure.message).join('\n'))
    await chmod(next, 0o755)
    // The time of the folder is the start of the build, so files that change during the build are newer.
    await utimes(next, startedAt, startedAt)
    await rm(dist, { recursive: true, force: true })
    await rename(next, dist)
  } finally {
    await rm(next, { recursive: true, force: true })
  }
}

if (!(await isUpToDate())) {
  try {
    await build()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
