import { type TaskFunction, ThreadWorker } from "poolifier";
import { noop, TASKS } from "./tasks.ts";

const tasks = { noop, ...TASKS } as Record<string, TaskFunction<unknown, unknown>>;

export default new ThreadWorker<unknown, unknown>(tasks);
