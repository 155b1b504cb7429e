/* SPDX-License-Identifier: MIT */
/*
 * own.c - two counted types, and two mistakes: what karc says about them
 *
 *	cc own.c $(pkg-config --cflags --libs karc) -o own && ./own
 */
#include <karc/karc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/refcount/arc.h>

struct engine {
	struct arc arc;
};

struct car {
	struct arc arc;
	struct engine *engine;
};

static void give_back(void *obj)
{
	kfree(obj);
}

static const struct arc_type engine_type = {
	.name = "engine",
	.size = sizeof(struct engine),
	.flags = ARC_LEAF,				/* owns nothing, and says so */
	.ops = { .free = give_back },
};

static const struct arc_field car_fields[] = {
	ARC_OWNED(car, engine, engine),			/* drop glue, graph edge, audit input */
	ARC_FIELDS_END
};

static const struct arc_type car_type = {
	.name = "car",
	.size = sizeof(struct car),
	.ops = { .free = give_back },
	.fields = car_fields,
};

static long kernel_code(void *arg)
{
	struct engine *engine = kmalloc(sizeof(*engine), GFP_KERNEL);
	struct car *car = kmalloc(sizeof(*car), GFP_KERNEL);

	if (arc_type_register(&engine_type) || arc_type_register(&car_type))
		return -1;
	arc_init(&engine->arc, &engine_type);
	arc_init(&car->arc, &car_type);
	car->engine = engine;		/* the reference is the field's now */
	arc_get(&engine->arc);		/* one more, and nobody will put it */
	arc_put(&car->arc);		/* the car goes, and its engine loses an owner */
	arc_put(&car->arc);		/* once too often */
	return 0;
}

int main(void)
{
	struct machine *m = machine_boot(&(struct machine_config){
		.track = true, .holders = true, .quarantine = 16 });

	machine_call(m, 0, kernel_code, NULL);
	return machine_shutdown(m) ? 1 : 0;
}
