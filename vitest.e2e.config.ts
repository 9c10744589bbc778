// Against a real cluster: `npm run test:e2e`. One after the other, since there is one installation.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    setupFiles: ['test/e2e/explain.ts'],
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
    // What is waited for has a deadline of its own.
    testTimeout: 1_200_000,
    hookTimeout: 1_200_000,
    allowOnly: false,
    passWithNoTests: false,
    // Figures are read while the run goes on.
    disableConsoleIntercept: true,
    reporters: ['verbose', 'json'],
    outputFile: { json: '.test-results/e2e.json' },
  },
})
