/* LiteRT for Swift: one model at a time, its ports by number. Functions return 0, or 1 with a reason. */
#ifndef EDGEKIT_CRUNNER_H
#define EDGEKIT_CRUNNER_H

#include <stddef.h>

int crunner_start(const char *library);
/* Lets go of the model before, if there is one. */
int crunner_open(const char *model, int threads);
int crunner_run(void);
const char *crunner_reason(void);

int crunner_num_inputs(void);
int crunner_num_outputs(void);
const char *crunner_name(int is_input, int index);
void *crunner_data(int is_input, int index);
size_t crunner_bytes(int is_input, int index);

#endif
