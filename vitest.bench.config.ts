// Benchmarks: `npm run bench` and `npm run bench:controller`. They run one at a time, and print their results
// without judging them.
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
