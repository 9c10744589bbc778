// Benchmarks: `npm run bench:controller`. One at a time, with nothing else; what they find out is printed, and judged by who reads it.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['bench/**/*.bench.ts'],
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 3_600_000,
    hookTimeout: 300_000,
    allowOnly: false,
  },
})
